package main

import (
	"bytes"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/secret"
	"github.com/secretboot/secretboot/process/mask"
	"github.com/secretboot/secretboot/render"
	"github.com/secretboot/secretboot/volume"
)

// ciJob is the job of a CI system that init is a step of. nil is none.
type ciJob struct {
	log    *slog.Logger
	stdout io.Writer
	system plan.CI
	export plan.Setting[string]

	env, output *runnerFile // what GITHUB_ENV and GITHUB_OUTPUT name; nil: not wanted
	text        secret.Value
	names       []string
	known       known
}

// ciJob finds out which system it is and whether what is asked for can be done there.
// The problems have CodeConfig and are told together, before any request.
func (a *app) ciJob(p plan.Plan) (*ciJob, error) {
	if !p.CI.IsSet {
		if p.CIExport.IsSet {
			return nil, ciProblem(p.CIExport.Origin, "ci_export", "it is not said which system's job this is", "add --ci auto")
		}
		return nil, nil
	}
	system, err := a.ciSystem(p.CI)
	if err != nil {
		return nil, err
	}
	c := &ciJob{log: a.logger(), stdout: a.stdout, system: system, export: p.CIExport}
	var ps plan.Problems
	if system == plan.CIGitHub {
		ps.Add(c.openGitHub(a, p))
	} else {
		ps.Add(c.checkGitLab())
	}
	if p.CIExport.IsSet {
		ps.Add(c.checkVariables(p))
	}
	return c, ps.Err()
}

// warnReplaced tells a step that it takes away what one before it gave to the job.
func (a *app) warnReplaced(p plan.Plan) {
	inJob, _ := a.lookup("GITHUB_ACTIONS")
	dir := p.Sink.Dir
	if inJob == "true" && dir.Origin.At == "SECRETBOOT_DIR" && len(p.Files)+len(p.Sets) > 0 && !volume.IsShredded(dir.Value) {
		a.logger().Warn("SECRETBOOT_DIR is the folder of an earlier step: its files are replaced; give --dir to keep them", slog.String("dir", dir.Value))
	}
}

func ciProblem(from plan.Origin, what, why, fix string) *plan.Problem {
	return &plan.Problem{Code: plan.CodeConfig, Origin: from, What: what, Why: why, Fix: fix}
}

// ciSystem gives the system that is asked for, or that we are in, by the variables
// that it sets for each job (docs.github.com, "Variables reference";
// docs.gitlab.com, "Predefined CI/CD variables").
func (a *app) ciSystem(asked plan.Setting[plan.CI]) (plan.CI, error) {
	in := func(variable string) bool { value, _ := a.lookup(variable); return value == "true" }
	github, gitlab := in("GITHUB_ACTIONS"), in("GITLAB_CI")
	switch {
	case asked.Value == plan.CIGitHub && !github:
		return 0, ciProblem(asked.Origin, "ci", "GITHUB_ACTIONS is not true: no runner is there to mask, and standard output would show every secret",
			"ask for it in a job of GitHub Actions only")
	case asked.Value != plan.CIAuto:
		return asked.Value, nil
	case github && gitlab:
		return 0, ciProblem(asked.Origin, "ci", "both GITHUB_ACTIONS and GITLAB_CI are true", "name one: github or gitlab")
	case github:
		return plan.CIGitHub, nil
	case gitlab:
		return plan.CIGitLab, nil
	}
	return 0, ciProblem(asked.Origin, "ci", "neither GITHUB_ACTIONS nor GITLAB_CI is true: this is no job of a system that we know",
		"leave it out here")
}

// openGitHub opens the runner's files, and sees that the runner reads what we print.
func (c *ciJob) openGitHub(a *app, p plan.Plan) error {
	var ps plan.Problems
	ps.Add(checkRunnerReads(p.CI.Origin))
	var err error
	c.env, err = openRunnerFile(a, "GITHUB_ENV", p.CI.Origin)
	ps.Add(err)
	if c.export.Value == plan.CIExportOutput {
		c.output, err = openRunnerFile(a, "GITHUB_OUTPUT", c.export.Origin)
		ps.Add(err)
	}
	return ps.Err()
}

// checkRunnerReads refuses a standard output that nobody who masks reads: what is
// printed there for the runner would stay in a file, or go nowhere.
func checkRunnerReads(from plan.Origin) error {
	var st unix.Stat_t
	err := unix.Fstat(1, &st)
	kind := st.Mode & unix.S_IFMT
	_, notTerminal := unix.IoctlGetTermios(1, unix.TCGETS)
	if err == nil && kind != unix.S_IFREG && (kind != unix.S_IFCHR || notTerminal == nil) {
		return nil
	}
	return ciProblem(from, "ci", "standard output goes to a file or nowhere: the runner would mask nothing, and a file would have every secret",
		"do not redirect standard output")
}

// checkGitLab refuses what GitLab has no way for that is not stored.
func (c *ciJob) checkGitLab() error {
	if !c.export.IsSet || c.file() != "" {
		return nil
	}
	return ciProblem(c.export.Origin, "ci_export", "variables go to later jobs of GitLab in a dotenv report only, which GitLab stores with the job's artifacts",
		"let each job read what it needs, or name a file on tmpfs for later steps of this job: file:PATH")
}

// checkVariables refuses names that the runner would.
func (c *ciJob) checkVariables(p plan.Plan) error {
	if len(p.Env)+len(p.EnvSets) == 0 {
		return ciProblem(c.export.Origin, "ci_export", "no variable is declared", "give -e NAME=REF, or leave it out")
	}
	var ps plan.Problems
	if path := c.file(); slices.ContainsFunc(p.Files, func(f plan.File) bool { return f.Path == path }) {
		ps.Add(ciProblem(c.export.Origin, "ci_export", "another file has this path", "name a path of its own"))
	}
	for _, e := range p.Env {
		_, err := render.Variables(c.format(), map[string]secret.Value{e.Name: {}}, rand.Reader)
		var bad plan.Problems
		bad.Add(err)
		for _, b := range bad {
			ps.Add(ciProblem(e.Origin, "variable "+e.Name, b.Why, b.Fix))
		}
	}
	return ps.Err()
}

// format is that of the file which the variables go to.
func (c *ciJob) format() plan.Format {
	switch c.export.Value {
	case plan.CIExportEnv:
		return plan.FormatGitHubEnv
	case plan.CIExportOutput:
		return plan.FormatGitHubOutput
	}
	return plan.FormatDotenv
}

// file is the path of the file among those delivered that has the variables; "" when
// there is none.
func (c *ciJob) file() string {
	if c == nil {
		return ""
	}
	path, ok := strings.CutPrefix(c.export.Value, plan.CIExportFile)
	if !ok {
		return ""
	}
	return path
}

// places is p with the file of the variables, for whoever has to make room for it.
func (c *ciJob) places(p plan.Plan) plan.Plan {
	if path := c.file(); path != "" {
		p.Files = append(slices.Clone(p.Files), plan.File{Path: path, Origin: c.export.Origin})
	}
	return p
}

// check tells whether the file of the variables could be delivered to s.
func (c *ciJob) check(s bootstrap.Sink) error {
	if c.file() == "" {
		return nil
	}
	return plan.At(s.Check(c.file()), c.export.Origin)
}

// tellsFolder reports whether later steps are told where the files are, so that a
// folder may be chosen that nobody named.
func (c *ciJob) tellsFolder() bool { return c != nil && c.env != nil }

// listen lets the job see what the pipeline reads and is about to deliver.
func (c *ciJob) listen(d *bootstrap.Deps) {
	if c == nil {
		return
	}
	open := d.Vault
	d.Announce = c.announce
	d.Vault = func() (bootstrap.Vault, error) {
		v, err := open()
		return &learner{Vault: v, known: &c.known}, err
	}
}

// announce registers masks, before anything is delivered, and writes the variables
// down; nothing that can fail but the writing itself is left for later.
func (c *ciJob) announce(made []bootstrap.Made) ([]bootstrap.Made, error) {
	var ps plan.Problems
	values := map[string]secret.Value{}
	for _, m := range made {
		if m.Name != "" {
			ps.Add(checkEnv(m.Name, string(m.Content.Reveal())))
			values[m.Name] = m.Content
		}
	}
	if c.export.IsSet {
		var err error
		c.names = slices.Sorted(maps.Keys(values))
		c.text, err = render.Variables(c.format(), values, rand.Reader)
		ps.Add(plan.At(err, c.export.Origin))
	}
	if err := ps.Err(); err != nil {
		return nil, err
	}
	if c.system == plan.CIGitLab {
		c.log.Warn("GitLab's runner can be told of no mask while a job runs: of these secrets only what the project has as masked variables is hidden in the job's log; run --mask on hides them in a command's output")
	} else if err := c.mask(made); err != nil {
		return nil, err
	}
	if c.file() != "" {
		return []bootstrap.Made{{Path: c.file(), Content: c.text}}, nil
	}
	return nil, nil
}

// mask tells the runner what to hide in the log of this and all later steps
// (docs.github.com, "Workflow commands", "Masking a value in a log"). It takes each
// line of a log by itself, so it is told each line of a value.
func (c *ciJob) mask(made []bootstrap.Made) error {
	for _, m := range made {
		if m.Alone {
			c.known.addMade(m)
		}
	}
	values := c.known.take()
	defer wipeValues(values)
	var commands bytes.Buffer
	told, warned := map[string]bool{}, map[string]bool{}
	for _, v := range values {
		lines, why := mask.Lines(v.Value)
		if why != "" && !warned[v.Name] {
			warned[v.Name] = true
			c.log.Warn("the runner is not told to mask this secret", slog.String("secret", v.Name), slog.String("why", why))
		}
		for _, line := range lines {
			if !told[string(line)] {
				told[string(line)] = true
				fmt.Fprintf(&commands, "::add-mask::%s\n", bytes.ReplaceAll(line, []byte("%"), []byte("%25")))
			}
		}
	}
	defer func() { clear(commands.Bytes()[:commands.Len()]) }()
	_, err := c.stdout.Write(commands.Bytes())
	return written(err)
}

// publish tells later steps what they need. After an error nothing is told.
func (c *ciJob) publish(held *bootstrap.Held) error {
	if c == nil || c.env == nil {
		return nil
	}
	defer c.text.Wipe()
	var text []byte
	if dir := held.Dir(); dir != "" {
		line, err := render.Variables(plan.FormatGitHubEnv, map[string]secret.Value{"SECRETBOOT_DIR": secret.New([]byte(dir))}, rand.Reader)
		if err != nil {
			return err
		}
		text = line.Reveal()
	}
	switch c.export.Value {
	case plan.CIExportEnv:
		text = append(text, c.text.Reveal()...)
		c.log.Warn("every later step of this job has these variables, whatever it runs", slog.String("variables", strings.Join(c.names, " ")))
	case plan.CIExportOutput:
		if err := c.output.add(c.text.Reveal()); err != nil {
			return err
		}
		c.log.Warn("every later step of this job can read these outputs", slog.String("outputs", strings.Join(c.names, " ")))
	}
	defer clear(text)
	if err := c.env.add(text); err != nil {
		c.takeBack()
		return err
	}
	return nil
}

// takeBack undoes publish.
func (c *ciJob) takeBack() {
	if c != nil {
		c.env.takeBack()
		c.output.takeBack()
	}
}

// runnerFile is a file through which a step tells the runner something.
type runnerFile struct {
	name   string // of the variable that names it
	file   *os.File
	before int64 // its size before we added anything
	added  int64
}

// openRunnerFile opens a file that the runner has made for this step.
func openRunnerFile(a *app, variable string, from plan.Origin) (*runnerFile, error) {
	const fix = "let the runner start this step: it makes the file"
	path, _ := a.lookup(variable)
	if path == "" {
		return nil, ciProblem(from, variable, "it is not set", fix)
	}
	// It is what the runner left there: no link, and no pipe that could hold us.
	file, err := os.OpenFile(path, os.O_RDWR|os.O_APPEND|unix.O_NOFOLLOW|unix.O_NONBLOCK, 0)
	if err != nil {
		return nil, ciProblem(from, variable, "the file that it names: "+plan.PathCause(err), fix)
	}
	info, err := file.Stat()
	if err != nil || !info.Mode().IsRegular() {
		_ = file.Close()
		return nil, ciProblem(from, variable, "what it names is no regular file", fix)
	}
	return &runnerFile{name: variable, file: file}, nil
}

// add appends text in lines of its own. After an error the file is as it was.
func (r *runnerFile) add(text []byte) error {
	info, err := r.file.Stat()
	if err == nil && info.Size() > 0 {
		last := make([]byte, 1)
		if _, err = r.file.ReadAt(last, info.Size()-1); last[0] != '\n' {
			text = append([]byte("\n"), text...)
			defer clear(text)
		}
	}
	if err == nil && len(text) > 0 {
		var n int
		r.before = info.Size()
		n, err = r.file.Write(text)
		r.added = int64(n)
	}
	if err != nil {
		r.takeBack()
		return &plan.Problem{Code: plan.CodeIO, What: r.name, Why: "the file that it names: " + plan.PathCause(err), Fix: "give the runner's disk more room", Err: err}
	}
	return nil
}

// takeBack removes what was added, unless somebody wrote behind it.
func (r *runnerFile) takeBack() {
	if r == nil || r.added == 0 {
		return
	}
	if info, err := r.file.Stat(); err == nil && info.Size() == r.before+r.added {
		_ = r.file.Truncate(r.before)
	}
	r.added = 0
}
