package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ebbgate/ebbgate/localbroker/upload"
)

func (f *filesFlags) rm() *cobra.Command {
	var yes, running, exported bool
	cmd := &cobra.Command{
		Use: "rm CLIENT FILE", Short: "Give a transfer up, or delete an exported file and its manifest", Args: cobra.ExactArgs(2),
		Long: `Give a transfer up, or delete an exported file and its manifest. What a transfer
has brought so far is lost; its device is told so when it asks for the end. The id of
an exported file that is deleted may be used anew.

At a terminal it asks before; elsewhere it needs --yes.`,
		Example: "  ebbgate files rm pump-7 log-2031 --yes\n  ebbgate files rm pump-7 log-2031 --exported",
		RunE: func(cmd *cobra.Command, args []string) error {
			if running && exported {
				return invalidf("--running and --exported exclude each other: leave both out for both")
			}
			c, err := f.gateway()
			if err != nil {
				return err
			}
			all, err := c.show(cmd.Context(), args[0], args[1])
			if err != nil {
				return err
			}
			var runs, left *transferDetail
			for i := range all {
				switch d := &all[i]; {
				case d.State == upload.StateExported && !running:
					left = d
				case d.State != upload.StateExported && !exported:
					runs = d
				}
			}
			if runs == nil && left == nil {
				return errNoTransfer
			}
			if !yes {
				if err := agree(cmd.InOrStdin(), cmd.ErrOrStderr(), runs, left); err != nil {
					return err
				}
			}
			path := transferPath(args[0], args[1])
			if runs != nil {
				if err := c.ask(cmd.Context(), http.MethodDelete, path, nil); err != nil {
					return err
				}
			}
			if left != nil {
				return c.ask(cmd.Context(), http.MethodDelete, path+"/content", nil)
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&yes, "yes", false, "do not ask")
	cmd.Flags().BoolVar(&running, "running", false, "only the transfer that is not exported yet")
	cmd.Flags().BoolVar(&exported, "exported", false, "only the exported file")
	return cmd
}

// agree asks a person at a terminal whether something may be lost.
func agree(in io.Reader, prompts io.Writer, runs, left *transferDetail) error {
	var losses []string
	if runs != nil {
		losses = append(losses, fmt.Sprintf("give up the transfer of %s (%s, %s)", nameOf(&runs.Transfer), runs.State, bytesOf(&runs.Transfer)))
	}
	if left != nil {
		losses = append(losses, fmt.Sprintf("delete the exported %s (%s)", printable(left.Place), bytesOf(&left.Transfer)))
	}
	what := strings.Join(losses, " and ")
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		return invalidf("this would %s: add --yes", what)
	}
	if _, err := fmt.Fprintf(prompts, "%s? [y/N] ", strings.ToUpper(what[:1])+what[1:]); err != nil {
		return err
	}
	answer, _ := bufio.NewReader(io.LimitReader(in, 100)).ReadString('\n') // none is no
	if a := strings.ToLower(strings.TrimSpace(answer)); a != "y" && a != "yes" {
		return errLost
	}
	return nil
}

// nameOf is what a person calls a transfer.
func nameOf(t *upload.Transfer) string {
	if t.Name == "" {
		return printable(t.ClientID) + "/" + printable(t.FileID)
	}
	return printable(t.Name) + " from " + printable(t.ClientID)
}
