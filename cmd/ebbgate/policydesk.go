package main

import (
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/ebbgate/ebbgate/localbroker"
	"github.com/ebbgate/ebbgate/policy"
	"github.com/ebbgate/ebbgate/policy/policytest"
)

// plainSignals marks a command that keeps nothing which a signal could harm: the
// first one ends it, even while it waits for a pipe that nobody writes to.
const plainSignals = "plain-signals"

// asDesk marks a command as one that only reads and answers.
func asDesk(cmd *cobra.Command) *cobra.Command {
	cmd.Annotations = map[string]string{plainSignals: ""}
	return cmd
}

// answers is where a desk command prints. An answer that could not be written
// must not pass for one, and exit code 1 is one: denied, failed, found.
type answers struct{ io.Writer }

func (a answers) Write(p []byte) (int, error) {
	n, err := a.Writer.Write(p)
	if err != nil {
		err = invalidf("the answer could not be written: %w; make room, or send it elsewhere", err)
	}
	return n, err
}

const siteFlag = "rules of your own, a *.rego file or a folder of them, in place of those beside the documents; may be repeated"

// ownRules are those that --site names. Without it they are those of the
// configuration's folder, as far as there is one.
func ownRules(ctx context.Context, site []string, folder string) (*policy.OwnRules, error) {
	paths := site
	if len(paths) == 0 {
		if _, err := os.Stat(folder); folder == "" || errors.Is(err, fs.ErrNotExist) {
			return nil, nil
		}
		paths = []string{folder}
	}
	own, err := policy.ReadOwnRules(ctx, paths...)
	if err != nil {
		return nil, &exitError{exitInvalid, err}
	}
	if own == nil && len(site) > 0 {
		return nil, invalidf("--site %s: there is no *.rego file; name one, or leave the flag out", strings.Join(site, ", "))
	}
	return own, nil
}

// enter finds the listener that the client comes in by, and what it gets there.
func enter(c *policytest.Client, listeners []localbroker.ListenerOptions) error {
	named := func(l localbroker.ListenerOptions) bool {
		return l.Auth != "certificate" || l.TLS.ClientAuth == "chain"
	}
	var at []localbroker.ListenerOptions
	switch {
	case len(listeners) == 0:
		return nil
	case c.Listener != "":
		at = slices.DeleteFunc(slices.Clone(listeners), func(l localbroker.ListenerOptions) bool { return l.Name != c.Listener })
		if len(at) == 0 {
			return invalidf("--listener %s: the configuration has none of that name; there are %s", c.Listener, names(listeners))
		}
	case c.User != "":
		anonymous := func(l localbroker.ListenerOptions) bool { return l.Auth == "anonymous" }
		if i := slices.IndexFunc(listeners, func(l localbroker.ListenerOptions) bool { return anonymous(l) && l.Name == c.User }); i >= 0 {
			at = listeners[i : i+1] // whoever comes in there is called so
			break
		}
		at = slices.DeleteFunc(slices.Clone(listeners), func(l localbroker.ListenerOptions) bool { return anonymous(l) || !named(l) })
		if len(at) > 1 {
			return invalidf("user %s can come in by several listeners; name one with --listener: %s", c.User, names(at))
		}
	case len(listeners) == 1 && !named(listeners[0]):
		at = listeners
	}
	if len(at) == 0 {
		return nil
	}
	l := at[0]
	c.Listener = l.Name
	if l.Auth == "anonymous" && c.User+c.Thing+c.Certificate == "" {
		c.User = l.Name // as the gateway calls who comes without a name
	}
	if named(l) && c.User != "" {
		c.Attached = l.Policies
	}
	return nil
}

func names(listeners []localbroker.ListenerOptions) string {
	var out []string
	for _, l := range listeners {
		out = append(out, l.Name)
	}
	return strings.Join(out, ", ")
}
