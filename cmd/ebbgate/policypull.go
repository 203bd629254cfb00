package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ebbgate/ebbgate/policy/account"
)

// accountFlags say which AWS account, and are shared by what asks it.
type accountFlags struct {
	account.Options
	json bool
}

func (f *accountFlags) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&f.Profile, "profile", "", "profile of the AWS shared files (AWS_PROFILE)")
	cmd.Flags().StringVar(&f.Region, "region", "", "AWS region (AWS_REGION, or the profile's)")
	cmd.Flags().StringVar(&f.Endpoint, "endpoint-url", "", "URL of the control plane instead of AWS's, such as a VPC endpoint")
	cmd.Flags().IntVar(&f.Parallel, "parallel", 8, "calls at a time")
	cmd.Flags().BoolVar(&f.json, "json", false, "print one JSON object instead")
}

// open finds credentials, with progress on standard error.
func (f *accountFlags) open(cmd *cobra.Command) (*account.Account, *progressLine, error) {
	if f.Parallel < 1 {
		return nil, nil, invalidf("--parallel %d: at least one call at a time is needed", f.Parallel)
	}
	p := newProgressLine(cmd.ErrOrStderr())
	f.Progress = p.tell
	a, err := account.Open(cmd.Context(), f.Options)
	return a, p, err
}

func newPolicyPullCommand() *cobra.Command {
	var f accountFlags
	var o account.PullOptions
	var only string
	pem := true
	cmd := &cobra.Command{
		Use:   "pull",
		Short: "Fetch policies, things, groups and certificates of an AWS account",
		Long: `Read the AWS IoT policies of an account with all that they depend on, and write
what the gateway reads:

  things.yaml           things, types, attributes, groups, certificates, attachments
  policies/NAME.json    the documents in force, byte by byte
  certs/ID.pem          the certificates; they are no secret, and no key is read
  account.json          what came from AWS, with what things.yaml cannot say

Nothing in the account is changed. Here all files are replaced or none, after
they have been loaded as the gateway loads them. What is the site's own stays:
users, and things, groups, certificates and documents that AWS does not have and
that no earlier pull has brought. What was replaced is in .ebbgate-pull/previous.

Interrupted by a signal, throttling or a lost network, the same command goes on
where it ended. Credentials come from where the AWS CLI has them; the IAM policy
that they need is in docs/how-to/bring-your-own-policies.md.

Exit codes: 0 done; 1 AWS or the disk refused; 2 wrong usage, or the account's
policies do not load here.`,
		Example: `  ebbgate policy pull --out /etc/ebbgate --dry-run
  ebbgate policy pull --out /etc/ebbgate --profile plant --region eu-central-1
  ebbgate policy pull --only policies --versions --out ./aws`,
		Args: noArguments,
		RunE: func(cmd *cobra.Command, _ []string) error {
			switch o.Only = account.Part(only); o.Only {
			case account.Everything, account.OnlyPolicies, account.OnlyRegistry:
			default:
				return invalidf("--only %s: possible are policies and registry", only)
			}
			if o.Versions && o.Only == account.OnlyRegistry {
				return invalidf("--versions is about documents, which --only registry does not read; leave one of them out")
			}
			o.NoPEM = !pem
			a, progress, err := f.open(cmd)
			if err != nil {
				return err
			}
			r, err := a.Pull(cmd.Context(), o)
			progress.end()
			if invalid, ok := errors.AsType[*account.InvalidError](err); ok {
				return &exitError{exitInvalid, invalid}
			}
			if err != nil {
				return err
			}
			if f.json {
				return printIndented(cmd.OutOrStdout(), r)
			}
			return printPull(cmd.OutOrStdout(), r)
		},
	}
	f.add(cmd)
	cmd.Flags().StringVarP(&o.Out, "out", "o", ".", "folder to write to")
	cmd.Flags().StringVar(&o.Things, "things", "", "registry whose own entries are kept (default OUT/things.yaml)")
	cmd.Flags().StringVar(&only, "only", "", "fetch a part: policies (documents) or registry (the rest)")
	cmd.Flags().BoolVar(&o.Versions, "versions", false, "also all versions of the documents, to versions/NAME/N.json")
	cmd.Flags().BoolVar(&pem, "pem", true, "fetch the certificates themselves, with their dates: a call for each")
	cmd.Flags().BoolVar(&o.DryRun, "dry-run", false, "change nothing, print what would change")
	cmd.Flags().BoolVar(&o.Restart, "restart", false, "forget what an interrupted pull has fetched")
	return cmd
}

// printPull says what a pull did, or would do.
func printPull(w io.Writer, r *account.Report) error {
	var b strings.Builder
	signs := map[string]string{"added": "+", "changed": "~", "removed": "-"}
	listed := 0
	for _, c := range r.Changes {
		if listed == 40 && !r.DryRun {
			fmt.Fprintf(&b, "... and %s; --json lists all\n", count(len(r.Changes)-listed, "change"))
			break
		}
		listed++
		fmt.Fprintf(&b, "%s %s %s\n", signs[c.What], c.Kind, c.Name)
	}
	if len(r.Changes) == 0 {
		b.WriteString("nothing has changed\n")
	}
	for _, n := range r.Notes {
		fmt.Fprintf(&b, "note: %s %s\n", n.Subject, n.Text)
	}
	if len(r.Kept) > 0 {
		shown := r.Kept[:min(len(r.Kept), 5)]
		fmt.Fprintf(&b, "kept of the site's own: %s", strings.Join(shown, ", "))
		if more := len(r.Kept) - len(shown); more > 0 {
			fmt.Fprintf(&b, " and %d more", more)
		}
		b.WriteString("\n")
	}
	if r.Resumed > 0 {
		fmt.Fprintf(&b, "%s came from the interrupted pull\n", count(r.Resumed, "answer"))
	}
	verb := "written to"
	if r.DryRun {
		verb = "read; nothing was changed in"
	}
	fmt.Fprintf(&b, "account %s, %s: %s, %s, %s, %s %s %s\n", r.Account, r.Region,
		countOf(r.Policies, "policy", "policies"), count(r.Things, "thing"), count(r.Groups, "group"), count(r.Certificates, "certificate"), verb, r.Out)
	_, err := io.WriteString(w, b.String())
	return err
}

// countOf is count for words whose plural is not made with an s.
func countOf(n int, one, more string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, more)
}

// progressLine shows how far something is: on a terminal in one line that is
// written over, elsewhere in a line for each stage that is done.
type progressLine struct {
	out      io.Writer
	terminal bool
	stage    string
	last     time.Time
	width    int
}

func newProgressLine(out io.Writer) *progressLine {
	f, ok := out.(*os.File)
	return &progressLine{out: out, terminal: ok && term.IsTerminal(int(f.Fd()))}
}

func (p *progressLine) tell(at account.Progress) {
	finished := at.Total > 0 && at.Done == at.Total
	text := fmt.Sprintf("%s: %d", at.Stage, at.Done)
	if at.Total > 0 {
		text = fmt.Sprintf("%s of %d", text, at.Total)
	}
	if !p.terminal {
		if finished {
			_, _ = fmt.Fprintln(p.out, text)
		}
		return
	}
	if !finished && p.stage == at.Stage && time.Since(p.last) < 100*time.Millisecond {
		return
	}
	p.stage, p.last = at.Stage, time.Now()
	_, _ = fmt.Fprintf(p.out, "\r%-*s", p.width, text)
	p.width = len(text)
}

// end leaves the terminal's line to what comes next.
func (p *progressLine) end() {
	if p.terminal && p.width > 0 {
		_, _ = fmt.Fprintf(p.out, "\r%-*s\r", p.width, "")
	}
}
