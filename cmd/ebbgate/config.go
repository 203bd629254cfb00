package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"os"
	"slices"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/policy"
)

func newConfigCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "config",
		Short: "Check, describe and print the configuration",
	}
	cmd.AddCommand(newConfigCheckCommand(), newConfigSchemaCommand(), newConfigPrintCommand())
	return cmd
}

func newConfigCheckCommand() *cobra.Command {
	var sets []string
	var connect bool
	cmd := &cobra.Command{
		Use:   "check FILE",
		Short: "Look for everything that is wrong, and say what the file sets up",
		Long: `Read the configuration as "ebbgate run" does, with EBBGATE_ variables and --set
on top of it, and with the files that it names: certificates, keys, users,
things and policies. Nothing is opened to the network, unless --connect asks to
log in to each upstream, and to try where files go, the bucket, the upstream or
the folder, which is left as it was; a gateway that runs with the same client id
then loses its link for a moment, that of its files too, and goes on after its
backoff: do not run it again and again beside one. A folder is tried as the user who runs this:
run it as the one who runs the gateway.

Exit code 0: valid, and a summary is printed. 2: not valid, and every problem is
printed as "file:line: key: what is wrong; remedy". With --connect, 4: an upstream
or the bucket refuses the login, or the upstream or the folder takes no files.`,
		Example: `  ebbgate config check /etc/ebbgate/ebbgate.yaml
  ebbgate config check --connect /etc/ebbgate/ebbgate.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg, things, err := checkConfig(args[0], os.Environ(), sets)
			if err != nil {
				lines := strings.Split(err.Error(), "\n")
				for _, l := range lines {
					_, _ = fmt.Fprintln(cmd.ErrOrStderr(), l)
				}
				return &exitError{exitInvalid, fmt.Errorf("%s is not valid: %s", args[0], count(len(lines), "problem"))}
			}
			if err := summarise(cmd.OutOrStdout(), args[0], cfg, things); err != nil || !connect {
				return err
			}
			return connectUpstreams(cmd.Context(), cmd.OutOrStdout(), cfg)
		},
	}
	cmd.Flags().BoolVar(&connect, "connect", false, "also log in to each upstream, and try where files go, once")
	cmd.Flags().StringArrayVar(&sets, "set", nil, "override a setting, such as --set spool.durability=os; may be repeated")
	return cmd
}

func newConfigSchemaCommand() *cobra.Command {
	return &cobra.Command{
		Use:     "schema",
		Short:   "Print the JSON Schema of the configuration file, for editors",
		Example: "  ebbgate config schema > ebbgate.schema.json",
		Args:    noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := cmd.OutOrStdout().Write(configs.Schema())
			return err
		},
	}
}

func newConfigPrintCommand() *cobra.Command {
	var sets []string
	cmd := &cobra.Command{
		Use:   "print [FILE]",
		Short: "Print the configuration in force: all layers merged, secrets masked",
		Long: `Print the configuration that "ebbgate run" would use with this file, the
EBBGATE_ variables and --set: all keys, defaults included, paths absolute and
references resolved. Secrets are masked. Without FILE the file is the one that
EBBGATE_CONFIG names, or none.`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			path := os.Getenv("EBBGATE_CONFIG")
			if len(args) > 0 {
				path = args[0]
			}
			cfg, err := configs.Load(path, os.Environ(), sets)
			if err != nil {
				return err
			}
			_, err = cmd.OutOrStdout().Write(configs.Print(cfg))
			return err
		},
	}
	cmd.Flags().StringArrayVar(&sets, "set", nil, "override a setting, such as --set spool.durability=os; may be repeated")
	return cmd
}

// checkConfig loads a configuration and then what it names, so that a policy
// that does not parse is found here and not at the next start.
func checkConfig(path string, env, sets []string) (*configs.Config, *policy.Engine, error) {
	cfg, err := configs.Load(path, env, sets)
	if err != nil {
		return nil, nil, err
	}
	engine, policyErr := policy.Load(cfg.Policy)
	// New reads certificates and users, and listens nowhere.
	_, brokerErr := localbroker.New(cfg.Broker, localbroker.Deps{Log: slog.New(slog.DiscardHandler)})
	return cfg, engine, errors.Join(policyErr, brokerErr, checkPrices(billingOf(cfg)))
}

// summarise says what a configuration sets up.
func summarise(w io.Writer, path string, cfg *configs.Config, things *policy.Engine) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(format string, args ...any) { _, _ = fmt.Fprintf(t, format+"\n", args...) } // Flush has the error
	line("%s is valid", path)
	line("")
	line("gateway\t%s", cfg.Gateway.ID)
	line("spool\t%s, durability %s", cfg.Spool.Dir, cfg.Spool.Durability)
	line("policy\t%s, %s", count(things.Policies(), "document"), count(things.Things(), "thing"))
	line("")
	line("listeners\t%d", len(cfg.Broker.Listeners))
	for _, l := range cfg.Broker.Listeners {
		line("  %s\t%s %s, profile %s, auth %s", l.Name, l.Type, l.Address, l.Profile, l.Auth)
	}
	line("")
	line("upstreams\t%d", len(cfg.Upstreams))
	for _, name := range slices.Sorted(maps.Keys(cfg.Upstreams)) {
		u := cfg.Upstreams[name]
		line("  %s\t%s, client id %s", name, strings.TrimSpace(u.Type+" "+u.MQTT.Endpoint), u.MQTT.ClientID)
		for _, text := range thingsInWords(name, cfg) {
			line("    %s", text)
		}
	}
	line("")
	line("routes\t%d up, %d down, %s match", len(cfg.Routes.Up), len(cfg.Routes.Down), cfg.Routes.Match)
	for _, r := range cfg.Routes.Up {
		does := ""
		if all := r.InWords(); len(all) > 0 {
			does = "; " + strings.Join(all, ", ")
		}
		line("  %s\tup\t%s → %s as %s\tpriority %d%s", r.Name, r.From, r.Upstream, r.Sends(), r.Priority, does)
	}
	for _, r := range cfg.Routes.Down {
		line("  %s\tdown\t%s: %s → %s\tpriority %d", r.Name, r.Upstream, r.From, r.Topic, r.Priority)
	}
	return t.Flush()
}

// count is "1 thing" or "2 things".
func count(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}
