package main

import (
	"time"

	"github.com/spf13/cobra"

	"github.com/secretboot/secretboot/bootstrap/plan"
	"github.com/secretboot/secretboot/volume"
)

// defaultDir is where files go when nobody says where; see package volume.
const defaultDir = "/run/secrets"

// readyCommand is a probe for images without a shell or an HTTP client. It asks the
// folder and nobody else, so it works without a listener, a login or a network.
func (a *app) readyCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "ready [--dir DIR]",
		Short: "tell whether what was delivered can be used (exec probe)",
		Long: "Ends with 0 when a whole generation is in the folder, it has not expired, and who delivered\n" +
			"it lives or left it for others (init and watch do); else with 69 and the reason. It has to run as the same user.",
		Example: "  secretboot ready --dir /run/secrets",
		Args:    noArgument, DisableFlagsInUseLine: true,
	}
	dir := cmd.Flags().String("dir", "", "the folder that files are delivered to (default SECRETBOOT_DIR or "+defaultDir+")")
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		a.probing = true
		if *dir == "" && cmd.Flags().Changed("dir") {
			return &plan.Problem{Code: plan.CodeUsage, What: "--dir", Why: "the value is empty", Fix: "name the folder, or leave it out"}
		}
		if *dir == "" {
			*dir, _ = a.lookup("SECRETBOOT_DIR")
		}
		if *dir == "" {
			*dir = defaultDir
		}
		return volume.Ready(*dir, time.Now())
	}
	return cmd
}
