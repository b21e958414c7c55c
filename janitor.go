package main

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"slices"
	"time"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/process"
	"github.com/secretboot/secretboot/volume"
)

// janitorWord is the argument of a process that is our janitor. It is no command:
// what else a janitor needs comes through a socket.
const janitorWord = "__janitor"

func isJanitor(args []string) bool {
	return slices.Equal(args[1:], []string{janitorWord}) && process.IsJanitor()
}

// orders are what the janitor is told. They hold no secret. The handles of a claim are
// indexes of the descriptors that come with the orders.
type orders struct {
	Folders   []volume.Claim `json:"folders"`
	LogFormat string         `json:"log_format"`
}

// startJanitor starts the helper that cleans up when we are killed, and gives the sink
// that keeps it informed. It needs none where the kernel does that: as process 1, or
// with a mount of our own; and it could do nothing for the files of a command that we
// turn into.
func (a *app) startJanitor(p plan.Plan, files *volume.Roots) bootstrap.Sink {
	private := p.Sink.Mount.Or(plan.MountShared) == plan.MountPrivate
	claims := files.Claims()
	if private { // the mount itself is the first of them
		claims = claims[min(1, len(claims)):]
	}
	if !p.Run.Janitor.Or(true) || os.Getpid() == 1 || p.Run.Mode.Or(plan.RunAuto) == plan.RunReplace || len(claims) == 0 {
		return files
	}
	text, err := json.Marshal(orders{Folders: claims, LogFormat: a.logFormat})
	if err == nil {
		a.janitor, err = process.StartJanitor([]string{"secretboot", janitorWord}, text)
	}
	if err != nil {
		a.logger().Warn("no janitor could be started: should we be killed, files stay until the next start", slog.String("why", plan.PathCause(err)))
		return files
	}
	s := &watched{Roots: files, app: a, without: len(files.Claims()) - len(claims)}
	s.tell()
	return s
}

// watched is a sink whose janitor knows of every generation that anybody can see,
// under whatever name.
type watched struct {
	*volume.Roots
	app     *app
	without int // folders that are no business of the janitor
}

// Commit is that of the Roots; so are the others.
func (w *watched) Commit() error {
	defer w.tell()
	return w.Roots.Commit()
}

func (w *watched) Adopt() (bool, error) {
	defer w.tell()
	return w.Roots.Adopt()
}

func (w *watched) Prune(before time.Time) error {
	defer w.tell()
	return w.Roots.Prune(before)
}

func (w *watched) Retract() error {
	defer w.tell()
	return w.Roots.Retract()
}

// tell gives the janitor its orders again, with the descriptors of now. In so many
// folders that they are more than a message can have, names have to do for the last.
func (w *watched) tell() {
	claims := w.HandledClaims()[w.without:]
	var all []int
	for i := range claims {
		handles := claims[i].Handles
		if len(all)+len(handles) > process.MaxDescriptors {
			handles = nil
		}
		claims[i].Handles = nil
		for _, fd := range handles {
			claims[i].Handles = append(claims[i].Handles, len(all))
			all = append(all, fd)
		}
	}
	text, err := json.Marshal(orders{Folders: claims, LogFormat: w.app.logFormat})
	if err == nil {
		err = w.app.janitor.Order(text, all...)
	}
	if err != nil {
		w.app.logger().Debug("the janitor does not know the newest files but by their names", slog.String("why", plan.PathCause(err)))
	}
}

// dismissJanitor ends the janitor; nobody may be waiting for children.
func (a *app) dismissJanitor() {
	a.janitor.Dismiss()
	a.janitor = nil
}

// lockPatience is how long the lock of a supervisor that vanished is waited for.
// The kernel frees it when it closes the supervisor's files, the socket among them.
const lockPatience = time.Second

// attend is all that the janitor does.
func attend(ctx context.Context) {
	left := process.Attend()
	left.EndChild()
	var o orders
	var ps plan.Problems
	if err := json.Unmarshal(left.Orders, &o); err != nil {
		return // we vanished before we gave any
	}
	ctx, cancel := context.WithTimeout(ctx, lockPatience)
	defer cancel()
	for _, c := range slices.Backward(o.Folders) { // the last one may be inside another
		for i, at := range c.Handles {
			c.Handles[i] = left.Descriptors[at]
		}
		ps.Add(patiently(time.Millisecond, ctx.Done(), func() (bool, error) { return volume.ShredDead(c) }))
	}
	a := &app{stderr: &patient{to: os.Stderr}, level: new(slog.LevelVar), logFormat: o.LogFormat}
	if len(ps) == 0 {
		a.logger().Warn("secretboot was killed; its janitor ended the command and shredded the files")
	} else {
		a.logger().Warn("secretboot was killed; its janitor ended the command but could not shred everything")
	}
	for _, p := range ps {
		a.report(p)
	}
}

// patiently tries to shred what is in a folder until nobody has the lock of it any
// more, or the limit is over, which may be nil: somebody owns it then who came after us.
func patiently(every time.Duration, limit <-chan struct{}, try func() (done bool, err error)) error {
	tick := time.NewTicker(every)
	defer tick.Stop()
	for {
		done, err := try()
		if done {
			return err
		}
		select {
		case <-tick.C:
		case <-limit:
			return err
		}
	}
}
