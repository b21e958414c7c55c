package main

import (
	"fmt"
	"io"
	"log/slog"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"golang.org/x/sys/unix"

	"github.com/secretboot/secretboot/bootstrap/declare"
	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/bootstrap/status"
	"github.com/secretboot/secretboot/process"
	"github.com/secretboot/secretboot/volume"
)

// defaultTimeout bounds everything up to the start of the command.
const defaultTimeout = 60 * time.Second

// app is one run of the program.
type app struct {
	signals   chan os.Signal
	stdout    *output
	stderr    io.Writer
	masks     *masking
	environ   []string
	core      *unix.Rlimit // of core files, as we were started with
	options   []option     // see allOptions
	only      string       // the command that is meant, when its name comes first; "": any
	later     []func()     // declare the options of the others
	level     *slog.LevelVar
	logFormat string
	early     func() // ends the watch for signals that needs no clean-up
	wrapping  bool   // under `run`: codes of ours must not look like the command's
	childCode int
	receipt   receipts
	janitor   *process.Janitor // nil: there is none
	keeps     bool             // what is delivered will be kept fresh
	probing   bool             // under `ready`: what we say is not the reason of a container's end

	board     *status.Board  // what probes are told
	unpublish func()         // ends that
	ci        *ciJob         // nil: init is no step of a CI job
	claims    []volume.Claim // of the folders of init
}

func (a *app) logger() *slog.Logger {
	opts := &slog.HandlerOptions{Level: a.level}
	if a.logFormat == "json" {
		return slog.New(slog.NewJSONHandler(a.stderr, opts))
	}
	return slog.New(slog.NewTextHandler(a.stderr, opts))
}

// aboutReferences is what somebody needs to know for a first try.
const aboutReferences = "A reference, REF, names a secret: PATH[#FIELD][#VERSION], such as secret/app/db#password.\n" +
	"VAULT_ADDR says where Vault is; a login is found out: VAULT_TOKEN, VAULT_ROLE_ID with\n" +
	"VAULT_SECRET_ID, or what the platform offers to --auth-role."

// commands builds the command line.
func (a *app) commands() *cobra.Command {
	root := &cobra.Command{
		Use:   "secretboot",
		Short: "Bring secrets from Vault to a process, and take them away again",
		Long: "Secretboot logs in to HashiCorp Vault or OpenBao, reads, renders into 0400 files on\n" +
			"tmpfs or into the environment, starts a command with them, and shreds what it wrote.\n\n" +
			"Every option has a variable: --log-level is SECRETBOOT_LOG_LEVEL. A flag wins over a\n" +
			"variable, a variable over the configuration file.\n\n" + aboutReferences,
		SilenceErrors: true, SilenceUsage: true,
		Version: version(),
		Args:    noCommand,
		RunE:    func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	root.SetOut(a.stdout)
	root.SetErr(a.stderr)
	root.SetFlagErrorFunc(func(cmd *cobra.Command, err error) error {
		if word := cmd.Flags().Args(); cmd == root && len(word) > 0 { // its flags are not the mistake
			return noCommand(root, word)
		}
		a.wrapping, a.probing = cmd.Name() == "run", cmd.Name() == "ready"
		a.allFlags()
		return &plan.Problem{Code: plan.CodeUsage, What: err.Error(), Fix: meantFlag(cmd, err) + "see " + cmd.CommandPath() + " --help"}
	})
	root.AddCommand(a.runCommand(), a.initCommand(), a.planCommand(), a.doctorCommand(), a.convertCommand(), a.scanCommand(), a.readyCommand(), a.shredCommand(), a.watchCommand(),
		a.installCommand(), a.versionCommand(), declarationsTopic())
	root.InitDefaultCompletionCmd()
	for _, cmd := range root.Commands() {
		if cmd.Name() == "completion" { // cobra would print its help for a shell that does not exist
			cmd.Args = noCommand
			cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
		}
	}
	return root
}

// noCommand refuses a word that is no command of ours, and names the one that
// may have been meant.
func noCommand(root *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	var names []string
	for _, c := range root.Commands() {
		names = append(names, c.Name())
	}
	fix := "see secretboot --help; a program is started with secretboot run -- PROGRAM"
	if meant := plan.Nearest(args[0], names); meant != "" {
		fix = "did you mean " + meant + "?"
	}
	return &plan.Problem{Code: plan.CodeUsage, What: "unknown command " + strconv.Quote(args[0]), Fix: fix}
}

// noArgument refuses a word after a command that has none. Most who write one
// expect the command to start it, as run does.
func noArgument(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	p := &plan.Problem{
		Code: plan.CodeUsage, What: "unknown argument " + strconv.Quote(args[0]), Why: cmd.Name() + " takes options only",
		Fix: "see " + cmd.CommandPath() + " --help",
	}
	if cmd.Name() == "init" || cmd.Name() == "watch" {
		p.Why, p.Fix = cmd.Name()+" starts no command", "leave it out, or use secretboot run"
	}
	return p
}

// meantFlag names the flag that a mistyped one may have been, or the commands that
// have the one that this command lacks.
func meantFlag(cmd *cobra.Command, err error) string {
	if letter, ok := strings.CutPrefix(err.Error(), "unknown shorthand flag: '"); ok {
		return haveFlag(cmd, func(f *pflag.Flag) bool { return f.Shorthand != "" && f.Shorthand == letter[:1] })
	}
	wrong, ok := strings.CutPrefix(err.Error(), "unknown flag: --")
	if !ok {
		return ""
	}
	if elsewhere := haveFlag(cmd, func(f *pflag.Flag) bool { return f.Name == wrong }); elsewhere != "" {
		return elsewhere
	}
	var names []string
	cmd.Flags().VisitAll(func(f *pflag.Flag) { names = append(names, f.Name) })
	if meant := plan.Nearest(wrong, names); meant != "" {
		return "did you mean --" + meant + "? "
	}
	return ""
}

// haveFlag says which commands have a flag that cmd lacks; "" when none has it.
func haveFlag(cmd *cobra.Command, is func(*pflag.Flag) bool) string {
	var names []string
	for _, c := range cmd.Root().Commands() {
		found := false
		c.Flags().VisitAll(func(f *pflag.Flag) { found = found || is(f) })
		if found {
			names = append(names, c.Name())
		}
	}
	if len(names) == 0 {
		return ""
	}
	return "it is an option of " + strings.Join(names, ", ") + ", not of " + cmd.Name() + "; "
}

// declarationsTopic is `secretboot help declarations`.
func declarationsTopic() *cobra.Command {
	var b strings.Builder
	b.WriteString("--from KIND[:PATH] reads what another tool's users have written down. It may be given more\n" +
		"than once; what two declarations say differently is an error that names both places.\n\n")
	for _, line := range declare.Kinds() {
		word, help, _ := strings.Cut(line, "\t")
		fmt.Fprintf(&b, "  %-28s %s\n", word, help)
	}
	b.WriteString("\ndocs/declarations.md has what each understands, and where we differ from the original.")
	return &cobra.Command{Use: "declarations", Short: "the kinds of declaration that --from reads", Long: b.String()}
}

func (a *app) runCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "run [flags] -- COMMAND [ARG…]",
		Short: "deliver, run the command, clean up when it ends",
		Long:  "Deliver, run the command, clean up when it ends.\n\n" + aboutReferences,
		Example: "  secretboot run -f db/password=secret/app/db#password -- ./app\n" +
			"  secretboot run -c secretboot.yaml -- ./app --port 8080",
		DisableFlagsInUseLine: true,
		RunE:                  a.run,
	}
	cmd.Flags().SetInterspersed(false) // what follows the command's name is the command's
	a.addFlags(cmd)
	return cmd
}

func (a *app) initCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "init [flags]",
		Short:   "deliver and exit (init container, CI step)",
		Long:    "Deliver and exit, as in an init container or a step of a CI job.\n\n" + aboutReferences,
		Example: "  secretboot init -c /etc/secretboot.yaml --dir /run/secrets",
		Args:    noArgument, DisableFlagsInUseLine: true,
		RunE: a.init,
	}
	a.addFlags(cmd)
	return cmd
}

func (a *app) shredCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "shred [--force] [PATH…]",
		Short: "destroy delivered files (end of a CI job)",
		Long:  "Destroy what was delivered to folders, or single files. Without a PATH it is the folder that\nSECRETBOOT_DIR names, and it is no error when nothing is left there.",
	}
	force := cmd.Flags().Bool("force", false, "destroy a file that secretboot did not deliver, too")
	cmd.RunE = func(_ *cobra.Command, paths []string) error {
		var ps plan.Problems
		paths, err := a.toShred(paths)
		ps.Add(err)
		for _, p := range paths {
			ps.Add(volume.ShredPath(p, *force))
		}
		return ps.Err()
	}
	return cmd
}

// toShred is what shred was told, or the folder of this job. That may have expired:
// the last step of a job does not know.
func (a *app) toShred(paths []string) ([]string, error) {
	if len(paths) > 0 {
		return paths, nil
	}
	dir, _ := a.lookup("SECRETBOOT_DIR")
	switch {
	case dir == "":
		return nil, &plan.Problem{
			Code: plan.CodeUsage, What: "shred", Why: "no argument names what to destroy, and SECRETBOOT_DIR is not set", Fix: "see secretboot shred --help",
		}
	case volume.IsShredded(dir):
		a.logger().Info("nothing is left to shred", slog.String("dir", dir))
		return nil, nil
	}
	return []string{dir}, nil
}

func (a *app) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "print the version", Args: noArgument,
		RunE: func(*cobra.Command, []string) error {
			_, err := fmt.Fprintln(a.stdout, "secretboot "+version())
			return written(err)
		},
	}
}

// version is what the Go toolchain recorded: the module's version, or one made
// of the commit that a checkout was built from.
func version() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	return info.Main.Version + " " + info.GoVersion
}

// written makes a problem of an output that could not be written.
func written(err error) error {
	if err == nil {
		return nil
	}
	return &plan.Problem{Code: plan.CodeIO, What: "standard output", Why: plan.PathCause(err), Err: err}
}
