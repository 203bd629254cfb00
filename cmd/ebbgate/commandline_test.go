package main

import (
	"bytes"
	"os"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// Every command that only holds others explains itself when it is called alone,
// and refuses a word that names none of them, in one line that says where to
// look; with flags that it does not know, too.
func TestGroupsRefuseUnknownCommands(t *testing.T) {
	root := newRootCommand()
	bill, _, err := root.Find([]string{"bill"})
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	var walk func(*cobra.Command)
	walk = func(c *cobra.Command) {
		for _, sub := range c.Commands() {
			walk(sub)
		}
		if !c.HasSubCommands() || c == bill { // which is a command of its own as well
			return
		}
		n++
		path := strings.Fields(c.CommandPath())[1:]
		for _, more := range [][]string{{"nonsense"}, {"nonsense", "--limit", "3"}} {
			var stdout, stderr bytes.Buffer
			code := execute(append(path, more...), &stdout, &stderr)
			want := `ebbgate: unknown command "nonsense" for ` + c.CommandPath() + "; see " + c.CommandPath() + " --help\n"
			if code != exitInvalid || stdout.Len() > 0 || stderr.String() != want {
				t.Errorf("%s %q: exit %d, %q, %q, want %q", c.CommandPath(), more, code, stdout.String(), stderr.String(), want)
			}
		}
		var stdout, stderr bytes.Buffer
		if code := execute(path, &stdout, &stderr); code != exitOK || !strings.Contains(stdout.String(), c.CommandPath()+" [command]") || strings.Contains(stdout.String(), c.CommandPath()+" [flags]") {
			t.Errorf("%s alone: exit %d\n%s%s", c.CommandPath(), code, stdout.String(), stderr.String())
		}
	}
	walk(root)
	if n < 4 {
		t.Errorf("only %d groups: the test looks at too little", n)
	}
}

func TestNearestCommand(t *testing.T) {
	for line, want := range map[string]string{
		"rum":                `unknown command "rum" for ebbgate (did you mean run?); see ebbgate --help`,
		"spool stats":        `unknown command "stats" for ebbgate spool (did you mean stat?); see ebbgate spool --help`,
		"spool re":           `unknown command "re" for ebbgate spool (did you mean repair or requeue?); see ebbgate spool --help`,
		"config chekc":       `unknown command "chekc" for ebbgate config (did you mean check?); see ebbgate config --help`,
		"help spool stats":   `unknown command "stats" for ebbgate spool (did you mean stat?); see ebbgate spool --help`,
		"help nonsense":      `unknown command "nonsense" for ebbgate; see ebbgate --help`,
		"run ebbgate.yaml":   `ebbgate run takes no argument "ebbgate.yaml"; a configuration is named by --config; see ebbgate run --help`,
		"config schema it":   `ebbgate config schema takes no argument "it"; see ebbgate config schema --help`,
		"spool peek":         `accepts 1 arg(s), received 0; see ebbgate spool peek --help`,
		"spool ls --limit x": `invalid argument "x" for "--limit" flag: strconv.ParseInt: parsing "x": invalid syntax; see ebbgate spool ls --help`,
	} {
		var stdout, stderr bytes.Buffer
		code := execute(strings.Fields(line), &stdout, &stderr)
		if got := stderr.String(); code != exitInvalid || got != "ebbgate: "+want+"\n" {
			t.Errorf("%s: exit %d\ngot  %swant ebbgate: %s", line, code, got, want)
		}
	}
	var stdout, stderr bytes.Buffer
	if code := execute([]string{"help", "spool", "ls"}, &stdout, &stderr); code != exitOK || !strings.Contains(stdout.String(), "ebbgate spool ls [QUEUE]") {
		t.Errorf("help spool ls: exit %d\n%s%s", code, stdout.String(), stderr.String())
	}
}

// The README's table has every command.
func TestREADMEListsTheCommands(t *testing.T) {
	text, err := os.ReadFile("../../README.md")
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range newRootCommand().Commands() {
		if name := c.CommandPath(); c.IsAvailableCommand() && c.Name() != "help" && !strings.Contains(string(text), "\n| `"+name) {
			t.Errorf("the README does not tell of %s", name)
		}
	}
}
