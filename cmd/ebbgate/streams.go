package main

import (
	"cmp"
	"fmt"
	"io"
	"net/http"
	"os"
	"text/tabwriter"
	"time"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/localbroker/delivery"
)

// streamsFlags are what the commands about a gateway's streams share.
type streamsFlags struct {
	config string
	sets   []string
	json   bool
}

func newStreamsCommand() *cobra.Command {
	f := new(streamsFlags)
	cmd := &cobra.Command{
		Use:   "streams",
		Short: "Define files that devices download, and download them",
		Long: `Define files that devices download by AWS IoT's MQTT-based file delivery, and
download them as a device does.

A stream is a name with a few numbered files. What create and update are given is
hashed and copied at once, so that a file which is edited later changes nothing;
update makes the next version, in one step. A running gateway serves it from then
on. The folder is streams.dir of the configuration.`,
	}
	cmd.PersistentFlags().StringVarP(&f.config, "config", "c", os.Getenv("EBBGATE_CONFIG"), "configuration file of the gateway (EBBGATE_CONFIG)")
	cmd.PersistentFlags().StringArrayVar(&f.sets, "set", nil, "override a setting, such as --set streams.dir=DIR; may be repeated")
	cmd.PersistentFlags().BoolVar(&f.json, "json", false, "print JSON")
	cmd.AddCommand(f.create(), f.update(), f.list(), f.describe(), f.remove(), f.prefetch(), newStreamsGetCommand())
	return cmd
}

// library opens the streams of the configuration.
func (f *streamsFlags) library() (*delivery.Library, error) {
	cfg, err := configs.Load(f.config, os.Environ(), f.sets)
	if err != nil {
		return nil, err
	}
	l := delivery.OpenLibrary(cfg.Streams.Dir)
	l.Keep(roomOfStreams(cfg).missing)
	return l, nil
}

func (f *streamsFlags) create() *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use: "create STREAM PATH...", Short: "Define a new stream of files, or of the files of a folder", Args: cobra.MinimumNArgs(2),
		Long: `Define a new stream of files, or of the files of a folder. Files are numbered from
0, in the order given and in a folder by name; 7=PATH is file 7.`,
		Example: "  ebbgate streams create pump-2_4 firmware.bin\n  ebbgate streams create sounds ./sounds --description 'announcements, German'",
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := f.library()
			if err != nil {
				return err
			}
			s, err := l.Create(cmd.Context(), args[0], delivery.Change{Description: &description, Paths: args[1:]})
			return f.defined(cmd, s, err)
		},
	}
	cmd.Flags().StringVar(&description, "description", "", "what it is, at most 2028 characters; devices can read it")
	return cmd
}

func (f *streamsFlags) update() *cobra.Command {
	var description string
	cmd := &cobra.Command{
		Use: "update STREAM [PATH...]", Short: "Make the next version of a stream", Args: cobra.MinimumNArgs(1),
		Long: `Make the next version of a stream, of other files, with another description, or
both. Devices that ask for the version before are told so and begin anew.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			c := delivery.Change{}
			if len(args) > 1 {
				c.Paths = args[1:]
			}
			if cmd.Flags().Changed("description") {
				c.Description = &description
			}
			if c.Paths == nil && c.Description == nil {
				return invalidf("nothing is to change: name files, or use --description")
			}
			l, err := f.library()
			if err != nil {
				return err
			}
			s, err := l.Update(cmd.Context(), args[0], c)
			return f.defined(cmd, s, err)
		},
	}
	cmd.Flags().StringVar(&description, "description", "", "what it is, at most 2028 characters")
	return cmd
}

// awsFileSize is the largest file that AWS delivers (Q62).
const awsFileSize = 24 << 20

// defined prints a stream that has just come into force.
func (f *streamsFlags) defined(cmd *cobra.Command, s *delivery.Stream, err error) error {
	if err != nil {
		return err
	}
	for _, file := range s.Files {
		if file.Size > awsFileSize {
			_, _ = fmt.Fprintf(cmd.ErrOrStderr(), "note: %s has %s; AWS itself delivers files up to 24 MiB, so a device may have no room for more\n", printable(file.Name), humanSize(file.Size))
		}
	}
	return f.show(cmd.OutOrStdout(), s)
}

func (f *streamsFlags) show(w io.Writer, s *delivery.Stream) error {
	if f.json {
		return printIndented(w, s)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintf(t, "stream\t%s\nversion\t%d\n", s.ID, s.Version)
	if s.Description != "" {
		_, _ = fmt.Fprintf(t, "description\t%s\n", printable(s.Description))
	}
	_, _ = fmt.Fprintf(t, "updated\t%s\n\nFILE\tSIZE\tNAME\tSHA-256\n", s.Updated.Local().Format(time.DateTime))
	for _, file := range s.Files {
		_, _ = fmt.Fprintf(t, "%d\t%d\t%s\t%s\n", file.ID, file.Size, printable(file.Name), file.SHA256)
	}
	return t.Flush()
}

func (f *streamsFlags) list() *cobra.Command {
	var cloud bool
	cmd := &cobra.Command{
		Use: "list", Short: "List the streams that are defined here, or with --cloud those of the cloud that are cached", Args: noArguments,
		Long: `List the streams that are defined here. With --cloud the running gateway says which
streams of the cloud it knows, how much of each is in its cache, and which it is
fetching ahead.`,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if cloud {
				return f.cached(cmd)
			}
			l, err := f.library()
			if err != nil {
				return err
			}
			all, err := l.List()
			if err != nil {
				return err
			}
			if f.json {
				return printIndented(cmd.OutOrStdout(), append([]*delivery.Stream{}, all...))
			}
			t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
			_, _ = fmt.Fprintln(t, "STREAM\tVERSION\tFILES\tSIZE\tUPDATED\tDESCRIPTION")
			for _, s := range all {
				_, _ = fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s\t%s\n", s.ID, s.Version, len(s.Files), humanSize(s.Size()), s.Updated.Local().Format(time.DateTime), printable(s.Description))
			}
			return t.Flush()
		},
	}
	cmd.Flags().BoolVar(&cloud, "cloud", false, "those of the cloud, and how much of them is in the gateway's cache")
	return cmd
}

func (f *streamsFlags) describe() *cobra.Command {
	return &cobra.Command{
		Use: "describe STREAM", Short: "Show a stream, its files and their hashes", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := f.library()
			if err != nil {
				return err
			}
			s, err := l.Describe(args[0])
			if err != nil {
				return err
			}
			return f.show(cmd.OutOrStdout(), s)
		},
	}
}

func (f *streamsFlags) remove() *cobra.Command {
	return &cobra.Command{
		Use: "delete STREAM", Short: "Take a stream away; a new one of its name goes on with its versions", Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			l, err := f.library()
			if err != nil {
				return err
			}
			return l.Delete(cmd.Context(), args[0])
		},
	}
}

func (f *streamsFlags) prefetch() *cobra.Command {
	var prices streamPrices
	cmd := &cobra.Command{
		Use: "prefetch STREAM", Short: "Let the running gateway fetch a stream of the cloud before devices ask for it", Args: cobra.ExactArgs(1),
		Long: `Let the running gateway fetch a stream of the cloud into its cache before devices
ask for it. It goes on through outages; ebbgate streams list --cloud says how far it
is, and the gateway's log when all is there. --dry-run fetches nothing: the gateway
asks the cloud what the stream is, if it does not know, and what is not in its cache
yet is priced.`,
		RunE: func(cmd *cobra.Command, args []string) error {
			address, err := adminAddress(f.config, f.sets)
			if err != nil {
				return err
			}
			if err := cmp.Or(checkStreamID(args[0]), prices.check(cmd)); err != nil {
				return err
			}
			c := &transfersClient{address}
			if prices.dryRun {
				return prices.dryPrefetch(cmd, c, args[0], f.json)
			}
			return c.ask(cmd.Context(), http.MethodPost, "/api/v1/streams/"+args[0]+"/prefetch", nil)
		},
	}
	prices.add(cmd)
	return cmd
}

// checkStreamID refuses what can be no name of a stream.
func checkStreamID(id string) error {
	if !delivery.ValidID(id) {
		return invalidf("%q is no name of a stream: write 1 to 128 letters, digits, '_' and '-'", id)
	}
	return nil
}

// cached prints what of the cloud's streams is in the gateway's cache.
func (f *streamsFlags) cached(cmd *cobra.Command) error {
	address, err := adminAddress(f.config, f.sets)
	if err != nil {
		return err
	}
	var all cachedStreams
	if err := (&transfersClient{address}).ask(cmd.Context(), http.MethodGet, "/api/v1/streams/cached", &all); err != nil {
		return err
	}
	if f.json {
		return printIndented(cmd.OutOrStdout(), all)
	}
	t := tabwriter.NewWriter(cmd.OutOrStdout(), 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "STREAM\tVERSION\tFILES\tSIZE\tCACHED\tSTATE") // Flush has the error
	for _, s := range all.Streams {
		state := "partly here"
		switch {
		case s.Unknown:
			_, _ = fmt.Fprintf(t, "%s\t-\t-\t-\t-\tasking the cloud what it is\n", s.ID)
			continue
		case s.Fetching:
			state = "fetching"
		case s.Bytes >= s.Size:
			state = "here"
		case s.Bytes == 0:
			state = "described only"
		}
		_, _ = fmt.Fprintf(t, "%s\t%d\t%d\t%s\t%s, %d %%\t%s\n", s.ID, s.Version, s.Files, humanSize(s.Size), humanSize(s.Bytes), percent(s.Bytes, s.Size), state)
	}
	if all.More {
		_, _ = fmt.Fprintln(cmd.ErrOrStderr(), "there are more")
	}
	return t.Flush()
}
