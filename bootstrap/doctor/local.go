package doctor

import (
	"io/fs"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/volume"
)

func quote(s string) string { return strconv.Quote(s) }

// sink looks at every folder that files go to.
func (e *exam) sink() {
	p := e.order.Plan
	if len(p.Files)+len(p.Sets) == 0 {
		e.skip(stepSink, "", "no file is declared")
		return
	}
	o, err := e.world.Sink()
	if err != nil {
		e.fail(stepSink, "", err)
		return
	}
	all := volume.Examine(o, p.Files, p.Sets)
	for _, x := range all {
		e.folder(x, o.MountSize)
	}
	if len(all) == 0 {
		e.skip(stepSink, "", "no file goes to a folder")
	}
	e.readers(p)
}

// folder judges one folder.
func (e *exam) folder(x volume.Examined, private int64) {
	if x.Err != nil {
		e.fail(stepSink, x.Dir, x.Err)
		return
	}
	said, free := e.describeFolder(x), x.Free
	if private > 0 {
		said, free = "a private tmpfs of "+size(uint64(private))+" will be mounted on it", uint64(private)
	}
	switch {
	case x.InUse:
		e.warn(stepSink, x.Dir, "in use by another secretboot that lives; "+said, "give each its own folder, or wait for the other to end")
	case (x.Total > 0 || private > 0) && free < e.made:
		e.fail(stepSink, x.Dir, &plan.Problem{
			Code: plan.CodeIO, What: "sink " + quote(x.Dir), Why: "the files take " + size(e.made) + " and only " + size(free) + " are free",
			Fix: "raise its size (emptyDir sizeLimit, the size= option of the tmpfs)",
		})
	case x.Limited && x.Inodes == 0 && private == 0:
		e.fail(stepSink, x.Dir, &plan.Problem{Code: plan.CodeIO, What: "sink " + quote(x.Dir), Why: "no inode is free", Fix: "raise its limit (the nr_inodes= option of the tmpfs)"})
	case x.FileSystem == "disk" && private == 0:
		e.warn(stepSink, x.Dir, said+": shredding cannot reach journals, snapshots, remapped blocks and backups", "mount a tmpfs there (emptyDir medium: Memory, docker --tmpfs)")
	case !x.NoSwap && private == 0:
		e.warn(stepSink, x.Dir, said+"; this machine has swap, which its pages may go to", "use an encrypted swap or none, a tmpfs with noswap (Linux 6.4), or mount: private")
	default:
		e.ok(stepSink, x.Dir, said)
	}
}

func (*exam) describeFolder(x volume.Examined) string {
	said := x.FileSystem
	if x.Missing {
		said = "will be made, on " + said
	}
	if x.Total > 0 {
		said += ", " + size(x.Free) + " of " + size(x.Total) + " free"
	}
	if x.Limited {
		said += ", " + strconv.FormatUint(x.Inodes, 10) + " inodes free"
	}
	if !x.Missing {
		said += ", owner " + itoa(x.UID) + ", mode " + strconv.FormatUint(uint64(x.Mode.Perm()), 8)
	}
	return said + "; we are user " + itoa(os.Geteuid())
}

// readers tells who can read the files when they are there. root and who has
// our own user always can.
func (e *exam) readers(p plan.Plan) {
	var wide []string
	owners := map[string]bool{}
	note := func(path, owner string, mode fs.FileMode) {
		if plan.IsWide(mode) {
			wide = append(wide, quote(path))
		}
		if owner == "" {
			owner = itoa(os.Geteuid())
		}
		owners[owner] = true
	}
	for _, f := range p.Files {
		note(f.Path, f.Owner, f.Mode)
	}
	for _, s := range p.Sets {
		note(s.Dir, s.Owner, s.Mode)
	}
	if len(wide) > 0 {
		e.warn(stepSink, "readers", strings.Join(wide, ", ")+": a mode that lets others in, or the group do more than read", "leave mode out, and run the application as the owner")
		return
	}
	names := make([]string, 0, len(owners))
	for o := range owners {
		names = append(names, o)
	}
	slices.Sort(names)
	e.ok(stepSink, "readers", "root and user "+strings.Join(names, ", ")+"; the application must run as that user, unless its group may read")
}

// command finds what the secrets are for.
func (e *exam) command() {
	if e.world.Command == nil {
		e.skip(stepCommand, "", "no command is given; put it after --")
		return
	}
	detail, err := e.world.Command()
	if err != nil {
		e.fail(stepCommand, "", err)
		return
	}
	e.ok(stepCommand, "", detail)
}
