package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ebbgate/ebbgate/internal/demo"
)

// versusMosquitto is the only value of demo's flag --versus.
const versusMosquitto = "mosquitto"

func newDemoCommand() *cobra.Command {
	var o struct {
		demo.Plan
		dir      string
		interval time.Duration
		noLimits bool
		once     bool
		json     bool
		versus   string
	}
	cmd := &cobra.Command{
		Use:   "demo",
		Short: "See the main job: devices, gateway and cloud on this machine",
		Long: `Start a gateway, a sandbox cloud and simulated devices on this machine, and
watch messages cross. Keys: c cuts the link to the cloud, r restores it, p kills
the gateway, d lets a device break its policy, q ends with the cloud's own
count. Without a terminal it prints a line a second.

With --once it follows a plan instead: an outage, and kills of the gateway while
much is spooled. It ends with exit code 0 only if every message that a device
got acknowledged arrived in the cloud, each device's in order.

With --versus mosquitto the plan is run with Debian's mosquitto bridge as well,
with its stock persistence and without the cloud's rate limit.`,
		Example: `  ebbgate demo
  ebbgate demo --once --devices 20 --messages 20000 --outage 10s --kill 2 --no-limits --json
  ebbgate demo --versus mosquitto --kill 1`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if o.versus != "" && o.versus != versusMosquitto {
				return &exitError{exitInvalid, fmt.Errorf("--versus %s: only mosquitto is known", o.versus)}
			}
			self, err := os.Executable()
			if err != nil {
				return fmt.Errorf("demo: %w", err)
			}
			setup := demo.Setup{Executable: self, Dir: o.dir, NoLimits: o.noLimits, Units: awsUnits}
			progress := cmd.OutOrStdout()
			if o.json {
				progress = cmd.ErrOrStderr() // one object is all that stdout gets
			}
			switch {
			case o.versus != "":
				d, err := demo.Versus(cmd.Context(), setup, o.Plan, progress)
				if d == nil {
					return err
				}
				return errors.Join(conclude(cmd.OutOrStdout(), o.json, d, d.Ebbgate), err)
			case o.once:
				r, err := demo.Script(cmd.Context(), setup, o.Plan, progress)
				if r == nil {
					return err
				}
				return errors.Join(conclude(cmd.OutOrStdout(), o.json, r, r), err)
			}
			var f demo.Farewell
			err = withTerminal(cmd.OutOrStdout(), func(t demo.Terminal) (err error) {
				f, err = demo.Live(cmd.Context(), demo.LiveOptions{Setup: setup, Devices: o.Devices, Interval: o.interval}, t, cmd.OutOrStdout())
				return err
			})
			if f.Acked > 0 {
				f.Print(cmd.OutOrStdout()) // the terminal is its own again
			}
			return err
		},
	}
	f := cmd.Flags()
	f.IntVar(&o.Devices, "devices", 20, "simulated devices")
	f.DurationVar(&o.interval, "interval", 500*time.Millisecond, "time between two messages of a device, without --once")
	f.StringVar(&o.dir, "dir", "", "folder to keep the gateway's files in; empty: a temporary one")
	f.BoolVar(&o.noLimits, "no-limits", false, "lift the cloud's limit of 100 publishes a second")
	f.BoolVar(&o.once, "once", false, "follow the plan of --messages, --outage and --kill, and end")
	f.IntVar(&o.Messages, "messages", 20000, "with --once: messages of all devices together")
	f.DurationVar(&o.Outage, "outage", 10*time.Second, "with --once: how long the link is cut")
	f.IntVar(&o.Kills, "kill", 0, "with --once: how often the gateway is killed; the last of two or more in the middle of the replay")
	f.BoolVar(&o.json, "json", false, "with --once: print the result as one JSON object on the last line")
	f.StringVar(&o.versus, "versus", "", "run the plan beside mosquitto")
	return cmd
}

// conclude prints the outcome, and fails when the gateway did not keep its
// promise.
func conclude(w io.Writer, asJSON bool, outcome interface{ Print(io.Writer) }, promise *demo.Result) error {
	if asJSON {
		if err := json.NewEncoder(w).Encode(outcome); err != nil {
			return err
		}
	} else {
		outcome.Print(w)
	}
	if !promise.OK() {
		return fmt.Errorf("demo: %d messages lost, %d out of order", promise.Lost, promise.OutOfOrder)
	}
	return nil
}

// withTerminal gives fn the terminal in raw mode, when standard input and w are
// one, and puts it back, also on a panic.
func withTerminal(w io.Writer, fn func(demo.Terminal) error) (err error) {
	out, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(out.Fd())) || !term.IsTerminal(int(os.Stdin.Fd())) {
		return fn(nil)
	}
	was, err := term.MakeRaw(int(os.Stdin.Fd()))
	if err != nil {
		return fmt.Errorf("demo: %w", err)
	}
	t := &rawTerminal{out: int(out.Fd()), keys: make(chan byte)}
	done := make(chan struct{})
	go t.read(os.Stdin, done)
	defer func() {
		close(done)
		err = errors.Join(err, term.Restore(int(os.Stdin.Fd()), was))
	}()
	return fn(t)
}

// rawTerminal is a terminal in raw mode.
type rawTerminal struct {
	out  int
	keys chan byte
}

// Keys are what is typed.
func (t *rawTerminal) Keys() <-chan byte { return t.keys }

// Size is the present size; 80 by 24 when the terminal does not tell.
func (t *rawTerminal) Size() (columns, rows int) {
	columns, rows, err := term.GetSize(t.out)
	if err != nil {
		return 80, 24
	}
	return columns, rows
}

// read passes keys on until done. It ends with the process: nothing interrupts
// a read of a terminal.
func (t *rawTerminal) read(in io.Reader, done <-chan struct{}) {
	var key [1]byte
	for {
		if n, err := in.Read(key[:]); err != nil || n == 0 {
			return
		}
		select {
		case t.keys <- key[0]:
		case <-done:
			return
		}
	}
}
