package plan

// Masks reports whether secrets are hidden in what the command prints. ci tells
// whether we run in a job of a CI system.
func (r *Run) Masks(ci bool) bool {
	switch r.Mask.Or(MaskAuto) {
	case MaskOn:
		return true
	case MaskOff:
		return false
	case MaskAuto:
	}
	return r.FailOnLeak.Or(false) || ci && r.Mode.Or(RunAuto) != RunReplace
}

// run checks the settings of the command's output, which has to come through us.
func (c *checker) run() {
	r := &c.plan.Run
	replaces := r.Mode.Or(RunAuto) == RunReplace
	const why, fix = "we turn into the command, and nobody is there to look at what it prints", "leave out one of the two"
	if r.Mask.Or(MaskAuto) == MaskOn && replaces {
		c.fail(r.Mask.Origin, "mask: on", why, fix)
	}
	if r.PTY.Or(PTYAuto) == PTYOn && replaces {
		c.fail(r.PTY.Origin, "pty: on", "we turn into the command, and nobody is there to keep a terminal for it", fix)
	}
	switch {
	case !r.FailOnLeak.Or(false):
	case replaces:
		c.fail(r.FailOnLeak.Origin, "fail_on_leak", why, fix)
	case r.Mask.Or(MaskAuto) == MaskOff:
		c.fail(r.FailOnLeak.Origin, "fail_on_leak", "masking is turned off at "+r.Mask.Origin.String(), "leave mask out: it is on with fail_on_leak")
	}
}
