package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/process"
	"github.com/secretboot/secretboot/volume"
)

// expiryWord is the argument of a process that shreds later what init delivered. It
// is no command, as janitorWord is none.
const expiryWord = "__expire"

func isExpiry(args []string) bool {
	return slices.Equal(args[1:], []string{expiryWord}) && process.IsJanitor()
}

// expiry is what that process is told. It holds no secret.
type expiry struct {
	Folders []volume.Claim `json:"folders"`
	At      time.Duration  `json:"at"`   // see process.BootTime
	Init    int            `json:"init"` // the process that delivers
}

// checkExpires tells whether somebody can shred after init has ended.
func checkExpires(p plan.Plan) error {
	if p.Expires.Or(0) == 0 || os.Getpid() != 1 {
		return nil
	}
	return &plan.Problem{
		Code: plan.CodeConfig, Origin: p.Expires.Origin, What: "expires",
		Why: "init is process 1 here: the kernel ends every process of the container with it, also the one that would shred",
		Fix: "let watch deliver, which stays and shreds, or leave expires out",
	}
}

// expiring has the process that shreds what this init delivers started before any of it
// is there, so that it comes also when we are killed right after.
func (a *app) expiring(p plan.Plan, d *bootstrap.Deps) {
	if p.Expires.Or(0) == 0 {
		return
	}
	announce := d.Announce
	d.Announce = func(made []bootstrap.Made) (added []bootstrap.Made, err error) {
		if announce != nil {
			added, err = announce(made)
		}
		if err == nil {
			err = a.shredLater(p)
		}
		return added, err
	}
}

// shredLater starts that process.
func (a *app) shredLater(p plan.Plan) error {
	after := p.Expires.Or(0)
	if after == 0 || len(a.claims) == 0 {
		return nil
	}
	text, err := json.Marshal(expiry{Folders: a.claims, At: process.BootTime() + after, Init: os.Getpid()})
	if err == nil {
		err = process.Detach([]string{"secretboot", expiryWord}, text)
	}
	if err != nil {
		return &plan.Problem{
			Code: plan.CodeIO, Origin: p.Expires.Origin, What: "expires", Why: "the process that would shred cannot be started: " + plan.PathCause(err),
			Fix: "see that /proc is mounted and another process may be started, or leave expires out", Err: err,
		}
	}
	return nil
}

// shredsLater tells of that process, once all is delivered. Without a delivery it ends.
func (a *app) shredsLater(p plan.Plan) {
	if after := p.Expires.Or(0); after > 0 && len(a.claims) > 0 {
		a.logger().Info("a process stays that shreds what was delivered", slog.String("after", plan.Period(after)))
	}
}

// expire is all that this process does. It looks at the folders at the end of init, and
// has nothing to do when that left nothing; then only at its own end: what was shredded
// before, or replaced by a later delivery, is none of its business any more. A SIGTERM
// that is meant for it says that its surroundings end: it shreds at once.
func expire(signals <-chan os.Signal) {
	text, err := process.Orders()
	var e expiry
	if err != nil || json.Unmarshal(text, &e) != nil {
		return // whoever started us has ended before we knew what for
	}
	// Before it has ended, it cannot be told what is not delivered yet from what is not any more.
	gone, _, _ := process.WhenGone(context.Background(), e.Init) // never where the kernel cannot tell
	var limit <-chan struct{}                                    // of the time that an owner in the way may take
	for over := process.At(e.At); over != nil; {
		select {
		case <-over:
			over = nil
		case <-gone:
			if gone = nil; !slices.ContainsFunc(e.Folders, volume.HasDelivery) {
				return
			}
		case s := <-signals:
			if s == syscall.SIGTERM {
				over, limit = nil, process.At(process.BootTime()+lockPatience)
			}
		}
	}
	if gone != nil {
		select {
		case <-gone:
		case <-limit:
		}
	}
	for _, c := range slices.Backward(e.Folders) { // the last one may be inside another
		// Nobody hears of an error: shred tells, when it is tried again.
		_ = patiently(lockPatience/10, limit, func() (bool, error) { return volume.ShredDelivered(c) })
	}
}

// expireDuring shreds the command's files when their time is over before the command
// ends, and has nothing kept fresh from then on; stop says that it has ended.
func (a *app) expireDuring(after time.Duration, held *bootstrap.Held, stopKeeping func() error) (stop func()) {
	if after == 0 || len(held.Folders()) == 0 {
		return func() {}
	}
	over, ended := process.At(process.BootTime()+after), make(chan struct{})
	go func() {
		select {
		case <-ended:
			return
		case <-over:
		}
		_ = stopKeeping() // whoever ended the command because of it says so
		if err := held.Expire(); err != nil {
			for _, p := range problems(err) {
				a.report(p)
			}
			return
		}
		a.logger().Warn("the files have expired: they are shredded, and the command goes on without them",
			slog.String("folders", strings.Join(held.Folders(), " ")))
	}()
	return func() { close(ended) }
}

// checkExpires tells whether we are there to shred while the command runs.
func (t *target) checkExpires() error {
	if t.expires.Or(0) == 0 || t.run.Mode.Or(plan.RunAuto) != plan.RunReplace {
		return nil
	}
	return &plan.Problem{
		Code: plan.CodeConfig, Origin: t.expires.Origin, What: "expires", Why: "the command replaces us, so nobody is there to shred its files",
		Fix: "leave --exec (run.mode: replace) or expires out",
	}
}
