package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
)

// version is stamped by the linker.
var version = "dev"

// The exit codes, as the help text lists them.
const (
	exitOK      = 0
	exitFailed  = 1 // it went wrong while running
	exitInvalid = 2 // wrong usage, or a configuration, policy or registry that is not valid
	exitTaken   = 3 // something is in use: a port, or the spool by another gateway
	exitRefused = 4 // the upstream refuses the login, or where files go takes none

	exitNotTaken = 5 // files put: the far side does not take this file
	exitFull     = 6 // the disk has no room for what opening the spool writes
)

func main() {
	os.Exit(execute(os.Args[1:], os.Stdout, os.Stderr))
}

// execute runs one command line and returns its exit code.
func execute(args []string, stdout, stderr io.Writer) int {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	// A second signal ends the process the hard way: what is acknowledged is
	// on the disk anyway.
	context.AfterFunc(ctx, stop)
	root := newRootCommand()
	root.SetArgs(args)
	root.SetOut(stdout)
	root.SetErr(stderr)
	begun := false
	root.PersistentPreRun = func(cmd *cobra.Command, _ []string) {
		begun = true
		if _, plain := cmd.Annotations[plainSignals]; plain {
			cmd.SetContext(context.WithoutCancel(ctx))
			stop()
		}
	}
	cmd, err := root.ExecuteContextC(ctx)
	if err == nil {
		return exitOK
	}
	if !begun { // the command line itself is wrong
		err = &exitError{exitInvalid, fmt.Errorf("%w; see %s --help", err, cmd.CommandPath())}
	}
	if text := err.Error(); text != "" {
		_, _ = fmt.Fprintln(stderr, "ebbgate: "+text)
	}
	return exitCode(err)
}

// exitError carries a code that a command has chosen.
type exitError struct {
	code int
	err  error
}

func (e *exitError) Error() string { return e.err.Error() }
func (e *exitError) Unwrap() error { return e.err }

// exitCode maps an error to the code that a script sees.
func exitCode(err error) int {
	if e, ok := errors.AsType[*exitError](err); ok {
		return e.code
	}
	if _, ok := errors.AsType[*configs.Invalid](err); ok {
		return exitInvalid
	}
	if _, ok := errors.AsType[*mqtt.RefusedError](err); ok {
		return exitRefused
	}
	if e, ok := errors.AsType[*bridge.Error](err); ok && e.Kind == bridge.Unavailable {
		return exitTaken
	}
	if errors.Is(err, syscall.EADDRINUSE) {
		return exitTaken
	}
	return exitFailed
}

func newRootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "ebbgate",
		Short: "An edge bridge between LAN devices and the cloud that loses nothing",
		Long: `Ebbgate stands between the MQTT devices of a factory, a ship or a farm and the
cloud: a broker that behaves as AWS IoT Core's does, a policy engine, a durable
spool for outages of minutes or weeks, an uplink that keeps the rate limits, and
a meter that says what it costs.

Exit codes: 0 done; 1 failed while running; 2 wrong usage, or a configuration,
policy or registry that is not valid; 3 a port or the spool is in use by another
process; 4 the upstream refuses the login, or where files go takes none; 5 the far
side does not take this file (files put); 6 the disk has no room for a start: the
message says how much to free.`,
		Example: `  ebbgate demo                             see the main job in this terminal
  ebbgate config check /etc/ebbgate.yaml   look for mistakes
  ebbgate run --config /etc/ebbgate.yaml   run the gateway
  ebbgate spool stat                       what waits for the cloud`,
		Version:       version,
		SilenceErrors: true,
		SilenceUsage:  true,
	}
	root.SetVersionTemplate("ebbgate {{.Version}}\n")
	root.CompletionOptions.HiddenDefaultCmd = true
	root.SetFlagErrorFunc(flagError)
	root.SetHelpCommand(newHelpCommand())
	root.AddCommand(newRunCommand(), newConfigCommand(), newSpoolCommand(), newDropsCommand(), newBillCommand(), newUserCommand(), newFilesCommand(), newStreamsCommand(), newPolicyCommand(), newDecodeCommand(), newDemoCommand(), newSandboxCommand())
	root.InitDefaultCompletionCmd()
	root.SetUsageTemplate(groupUsage(root))
	groups(root)
	return root
}
