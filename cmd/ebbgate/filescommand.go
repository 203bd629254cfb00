package main

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// filesFlags are what the commands about a gateway's files share.
type filesFlags struct {
	config string
	sets   []string
	json   bool
}

func newFilesCommand() *cobra.Command {
	f := new(filesFlags)
	cmd := &cobra.Command{
		Use:   "files",
		Short: "Look after files that devices send, and send files",
		Long: `Look after files that devices send by EMQX's file transfer, and send files as a
device does.

ls, show, get, rm and retry ask a running gateway on its admin port, so they are for
the gateway's own machine. A transfer has the client id of its device and a file id
that the device has chosen. It is open, then assembling while its fin is worked on,
then queued, exporting or failed, and in the end exported. Exported files are
remembered for 30 days.`,
	}
	cmd.PersistentFlags().StringVarP(&f.config, "config", "c", os.Getenv("EBBGATE_CONFIG"), "configuration file of the gateway (EBBGATE_CONFIG)")
	cmd.PersistentFlags().StringArrayVar(&f.sets, "set", nil, "override a setting, such as --set admin.address=HOST:PORT; may be repeated")
	cmd.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON")
	cmd.AddCommand(newFilesPutCommand(), f.ls(), f.show(), f.get(), f.rm(), f.retry())
	return cmd
}

// gateway is how the running gateway is asked.
func (f *filesFlags) gateway() (*transfersClient, error) {
	address, err := adminAddress(f.config, f.sets)
	if err != nil {
		return nil, err
	}
	return &transfersClient{address}, nil
}

func (f *filesFlags) ls() *cobra.Command {
	var running, exported, watch bool
	var limit int
	cmd := &cobra.Command{
		Use: "ls", Short: "List transfers, how far they are and when they will be done, and exported files", Args: noArguments,
		Long: `List transfers, how far they are and when they will be done, and exported files.
Long ids and names are shown by head and tail; --json has them whole.

With --watch what changes is shown until it is interrupted: at a terminal as bars,
elsewhere as lines, a line for each change of state, with --json as JSON objects.`,
		Example: "  ebbgate files ls --running\n  ebbgate files ls --watch",
		RunE: func(cmd *cobra.Command, _ []string) error {
			state := ""
			switch {
			case running && exported:
				return invalidf("--running and --exported exclude each other: leave both out for all")
			case limit < 0:
				return invalidf("--limit %d: write 0 or more", limit)
			case running:
				state = stateRunning
			case exported:
				state = stateExported
			}
			c, err := f.gateway()
			if err != nil {
				return err
			}
			if watch {
				if exported {
					return invalidf("--watch shows transfers that run, and not --exported")
				}
				return f.watch(cmd.Context(), c, cmd.OutOrStdout())
			}
			return f.list(cmd, c, state, limit)
		},
	}
	cmd.Flags().BoolVar(&running, "running", false, "only transfers that are not exported yet")
	cmd.Flags().BoolVar(&exported, "exported", false, "only exported files")
	cmd.Flags().BoolVarP(&watch, "watch", "w", false, "show changes until it is interrupted")
	cmd.Flags().IntVar(&limit, "limit", 100, "most transfers to list; 0 lists all")
	return cmd
}

// list prints transfers as columns, or a JSON object a line.
func (f *filesFlags) list(cmd *cobra.Command, c *transfersClient, state string, limit int) error {
	if f.json {
		_, err := c.each(cmd.Context(), state, limit, func(t *upload.Transfer) error { return json.NewEncoder(cmd.OutOrStdout()).Encode(t) })
		return err
	}
	out := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(out, "STATE\tCLIENT\tFILE\tNAME\tBYTES\tRATE\tLEFT\tAGE\tWAITS FOR")
	more, err := c.each(cmd.Context(), state, limit, func(t *upload.Transfer) error {
		_, err := fmt.Fprintf(out, "%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\t%s\n", t.State, short(t.ClientID), short(t.FileID), cmp.Or(short(t.Name), "-"),
			bytesOf(t), rateOf(t), leftOf(t), humanAge(seconds(t.Age)), cmp.Or(printable(t.Error), "-"))
		return err
	})
	if err != nil {
		return err
	}
	if more {
		_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "there are more: --limit 0 lists all\n")
	}
	return out.Flush()
}

// widest is how many characters of an id or a name a column shows: devices choose
// them, and one of 255 would make the table unreadable for all.
const widest = 40

// short shows an id or a name in a column, a long one by its head and tail. With --json
// and in show it is whole.
func short(s string) string {
	r := []rune(printable(s))
	if len(r) <= widest {
		return string(r)
	}
	const tail = 12
	return string(r[:widest-tail-1]) + "…" + string(r[len(r)-tail:])
}

// bytesOf says how far a transfer is.
func bytesOf(t *upload.Transfer) string {
	done := t.Received
	switch {
	case t.Size == nil:
		return humanSize(done)
	case t.State == upload.StateExported || t.State == upload.StateQueued || t.State == upload.StateFailed:
		return humanSize(*t.Size)
	case t.State == upload.StateExporting:
		done = t.Sent
	}
	return fmt.Sprintf("%s of %s, %d %%", humanSize(done), humanSize(*t.Size), percent(done, *t.Size))
}

func percent(done, of int64) int64 {
	if of <= 0 {
		return 100
	}
	return min(int64(100*float64(done)/float64(of)), 100)
}

func rateOf(t *upload.Transfer) string {
	if t.Rate < 1 {
		return "-"
	}
	return humanSize(int64(t.Rate)) + "/s"
}

func leftOf(t *upload.Transfer) string {
	if t.Left <= 0 {
		return "-"
	}
	return humanAge(seconds(t.Left).Round(time.Second))
}

func (f *filesFlags) show() *cobra.Command {
	return &cobra.Command{
		Use: "show CLIENT FILE", Short: "Tell all about one transfer: what is missing, what its device was told, what it has cost", Args: cobra.ExactArgs(2),
		Example: "  ebbgate files show pump-7 log-2031",
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.gateway()
			if err != nil {
				return err
			}
			all, err := c.show(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			if f.json {
				return printIndented(cmd.OutOrStdout(), all)
			}
			for i := range all {
				if i > 0 {
					_, _ = fmt.Fprintln(cmd.OutOrStdout()) // the next has the error
				}
				if err := printTransfer(cmd.OutOrStdout(), &all[i]); err != nil {
					return err
				}
			}
			return nil
		},
	}
}

// printTransfer prints all about one transfer.
func printTransfer(w io.Writer, d *transferDetail) error {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	line := func(name, format string, args ...any) { _, _ = fmt.Fprintf(t, name+"\t"+format+"\n", args...) } // Flush has the error
	line("client", "%s", printable(d.ClientID))
	line("file", "%s", printable(d.FileID))
	if d.Name != "" {
		line("name", "%s", printable(d.Name))
	}
	line("state", "%s, for %s", d.State, humanAge(seconds(d.Age)))
	line("bytes", "%s", bytesOf(&d.Transfer))
	if d.State == upload.StateOpen {
		line("rate", "%s, %s left, last heard of %s ago", rateOf(&d.Transfer), leftOf(&d.Transfer), humanAge(seconds(d.Idle)))
	}
	if d.Segments > 0 {
		line("segments", "%d, of %s to %s", d.Segments, humanSize(d.Smallest), humanSize(d.Largest))
	}
	if len(d.Gaps) > 0 && d.State == upload.StateOpen {
		line("missing", "%s", gapsOf(&d.Detail))
	}
	if d.Error != "" && d.State == upload.StateOpen {
		line("waits for", "%s", printable(d.Error))
	} else if d.Error != "" {
		line("export", "%s", printable(d.Error))
	}
	if d.SHA256 != "" {
		line("sha256", "%s", d.SHA256)
	}
	if d.Place != "" {
		line("place", "%s", printable(d.Place))
	}
	if !d.ExportedAt.IsZero() {
		line("exported", "%s", d.ExportedAt.Local().Format(time.DateTime))
	}
	if len(d.Metadata) > 0 {
		var flat bytes.Buffer
		if err := json.Compact(&flat, d.Metadata); err != nil {
			return err
		}
		line("metadata", "%s", printable(flat.String()))
	}
	line("cost", "%s", costOf(&d.Detail))
	d.Bill.printBill(line)
	for _, a := range d.Answers {
		what := a.Command
		if a.Command != "init" && a.Command != "abort" {
			what += fmt.Sprintf(" %d", a.Offset)
		}
		line("answer", "%s: %s, %s ago", what, printable(a.Said), humanAge(seconds(a.Age)))
	}
	return t.Flush()
}

// mostGaps is how many gaps are told in words.
const mostGaps = 5

func gapsOf(d *upload.Detail) string {
	var words []string
	for i, g := range d.Gaps {
		if i == mostGaps {
			words = append(words, fmt.Sprintf("and %d parts more", len(d.Gaps)-i))
			break
		}
		words = append(words, fmt.Sprintf("%d to %d", g.From, g.To-1))
	}
	return "bytes " + strings.Join(words, ", ")
}

// costOf says what a transfer has taken: on the site nothing is charged for it, and
// elsewhere it would have been.
func costOf(d *upload.Detail) string {
	c, least := d.Cost, ""
	if c.AtLeast {
		least = "at least "
	}
	return fmt.Sprintf("%s%s in, %s on the wire (AWS would meter %d); %s exported", least, count(int(c.Messages), "message"), humanSize(c.Wire), c.Units, humanSize(c.Exported))
}

func (f *filesFlags) retry() *cobra.Command {
	return &cobra.Command{
		Use: "retry CLIENT FILE", Short: "Try an export again now that has failed", Args: cobra.ExactArgs(2),
		RunE: func(cmd *cobra.Command, args []string) error {
			c, err := f.gateway()
			if err != nil {
				return err
			}
			return c.ask(cmd.Context(), http.MethodPost, transferPath(args[0], args[1])+"/retry", nil)
		},
	}
}

// errLost is that nobody has agreed to a loss.
var errLost = errors.New("nothing was removed")
