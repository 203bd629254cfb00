package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/spool"
)

func (f *spoolFlags) verify() *cobra.Command {
	return &cobra.Command{
		Use: "verify", Short: "Read everything and report damage; nothing is changed", Args: noArguments,
		Long: `Read everything in the spool and report damage. Nothing is changed, and a
gateway may run meanwhile; then its newest generation and its state are left
alone. Exit code 1 tells of damage.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			cfg, err := configs.Load(f.config, os.Environ(), f.sets)
			if err != nil {
				return err
			}
			r, err := spool.Verify(cfg.Spool.Dir, progressOf(cmd.ErrOrStderr(), "generation"))
			if err != nil {
				return err
			}
			if f.json {
				err = printIndented(cmd.OutOrStdout(), r)
			} else {
				printReport(cmd.OutOrStdout(), r)
			}
			if err == nil && !r.Sound() {
				err = errors.New("the spool is damaged; ebbgate spool repair makes the best of it")
			}
			return err
		},
	}
}

func printReport(w io.Writer, r *spool.Report) {
	p := func(format string, args ...any) { _, _ = fmt.Fprintf(w, format+"\n", args...) }
	records := 0
	for _, g := range r.Generations {
		records += g.Records
		switch {
		case g.Damaged > 0 && g.Settled:
			p("generation %x: %d of %d commits are damaged; of what they held only the records count that are told as missing, if any", g.Number, g.Damaged, g.Commits)
		case g.Damaged > 0:
			p("generation %x: %d of %d commits are damaged", g.Number, g.Damaged, g.Commits)
		case g.Index != "":
			p("generation %x: its index cannot be read (%s); its %d commits can", g.Number, g.Index, g.Commits)
		case g.Clean && g.Unindexed > 0:
			p("generation %x: its index has lost %d of %d commits; they are in its value log", g.Number, g.Unindexed, g.Commits)
		}
		if g.Cut {
			p("generation %x: its last commit is cut; it was under way, and nobody was told that it was taken", g.Number)
		}
	}
	for _, g := range r.Gaps {
		p("missing: sequences %d to %d of the log", g.From, g.To-1)
	}
	for _, m := range r.Missing {
		p("missing: %s", printable(m.String()))
	}
	if r.ID != "" {
		p("file SPOOL: %s", r.ID)
	}
	if r.State != "" {
		p("state: %s", r.State)
	}
	if r.Tail != "" {
		p("mark of the log's end: %s", r.Tail)
	}
	if r.Serial != "" {
		p("number of the state's commits: %s", r.Serial)
	}
	for _, x := range r.Shelf {
		p("shelf: %s", x)
	}
	for _, a := range r.Aside {
		p("set aside earlier, and not needed: rm -r %s", shellWord(a))
	}
	for _, text := range r.Found {
		p("found earlier and dealt with: %s; the next start of the gateway tells it", printable(text))
	}
	if r.Running {
		p("a gateway is running: its newest generation's index and its state were not read")
	}
	p("%d generations, %d records, %s", len(r.Generations), records, soundness(r))
}

// shellWord is a path as a shell takes it for one word.
func shellWord(path string) string {
	return "'" + strings.ReplaceAll(printable(path), "'", `'\''`) + "'"
}

func soundness(r *spool.Report) string {
	if r.Sound() {
		return "no damage"
	}
	return "damaged"
}

func (f *spoolFlags) repair() *cobra.Command {
	return &cobra.Command{
		Use: "repair", Short: "Make the best of damage: rebuild indexes, give up and report what is missing", Args: noArguments,
		Long: `Make the best of damage. Indexes are rebuilt from the raw files, what cannot be
read is kept in the folder "damaged", and the ranges that are missing are
reported and given up. A gateway does the same by itself when it meets damage.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			return f.do(cmd, spoolRequest{Op: "repair"}, func(l spoolLine) error {
				if f.json {
					return printIndented(cmd.OutOrStdout(), l)
				}
				switch {
				case l.Missing != "":
					_, _ = fmt.Fprintln(cmd.OutOrStdout(), "missing: "+printable(l.Missing))
				case l.Done != nil:
					_, _ = fmt.Fprintf(cmd.OutOrStdout(), "%d generations of the log and files of the shelf were rebuilt\n", *l.Done)
				}
				return nil
			})
		},
	}
}

// progressOf reports progress on a terminal, and nowhere else.
func progressOf(w io.Writer, what string) func(done, all int) {
	file, ok := w.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return nil
	}
	return func(done, all int) { _, _ = fmt.Fprintf(file, "\r%s %d of %d\x1b[K\r", what, done+1, all) }
}
