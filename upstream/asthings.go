package upstream

import (
	"fmt"
	"path/filepath"
	"strings"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// ThingsOptions name the things that are connections of their own to the cloud,
// which then sees them as themselves.
type ThingsOptions struct {
	Cert      string        `koanf:"cert" doc:"Where the things' certificates are: the path of a PEM file with one * in it, which stands for the thing's name, such as certs/things/*.crt."`
	Key       string        `koanf:"key" doc:"Where their private keys are, in the same way."`
	Things    []OwnThing    `koanf:"things" doc:"The things that have a connection of their own, 200 at the most; empty: every one whose certificate cert finds when the configuration is read."`
	IdleAfter time.Duration `koanf:"idle_after" doc:"A thing's connection is opened with its first message and closed after so long without one, 30s to 24h; 0s leaves it open. A CONNECT is metered like a message, which is what 12 minutes of being connected cost."`
}

// OwnThing is one thing with its certificate.
type OwnThing struct {
	Name string `koanf:"name" doc:"The thing's name, in this gateway's registry and in the cloud's: it is the client id of the connection."`
	Cert string `koanf:"cert" doc:"PEM file with the thing's certificate; empty: as as_things.cert says. Read again at every connect."`
	Key  string `koanf:"key" doc:"PEM file with its private key; empty: as as_things.key says."`
}

// MaxThings is how many things of one upstream may have a connection of their own:
// while all are refused they still try less often than their gate lets them.
const MaxThings = 200

// Bounds of ThingsOptions.IdleAfter, but for 0.
const minIdle, maxIdle = StableAfter, 24 * time.Hour

// Used reports whether any thing may have a connection of its own.
func (o ThingsOptions) Used() bool { return o.Cert != "" || o.Key != "" || len(o.Things) > 0 }

// Names lists the things.
func (o ThingsOptions) Names() []string {
	out := make([]string, len(o.Things))
	for i, t := range o.Things {
		out[i] = t.Name
	}
	return out
}

// Resolve gives every thing its files, and finds the things when none is named.
// Validate says what is wrong with the result.
func (o ThingsOptions) Resolve() ThingsOptions {
	things := append([]OwnThing(nil), o.Things...)
	if len(things) == 0 && strings.Count(o.Cert, "*") == 1 {
		before, after, _ := strings.Cut(o.Cert, "*")
		found, _ := filepath.Glob(before + "*" + after) // fails on a bad pattern only, which names nothing then
		for _, path := range found {
			things = append(things, OwnThing{Name: strings.TrimSuffix(strings.TrimPrefix(path, before), after)})
		}
	}
	for i := range things {
		t := &things[i]
		if t.Cert == "" {
			t.Cert = strings.Replace(o.Cert, "*", t.Name, 1)
		}
		if t.Key == "" {
			t.Key = strings.Replace(o.Key, "*", t.Name, 1)
		}
	}
	o.Things = things
	return o
}

// Validate lists everything that is wrong with resolved options; tls is what else
// their connections have of TLS. A certificate that cannot be used is not among
// it: that thing waits until it can, and the others go on.
func (o ThingsOptions) Validate(tls TLSOptions) []bridge.Problem {
	if !o.Used() {
		if o.IdleAfter != 0 {
			return []bridge.Problem{{Path: "idle_after", Text: "is about connections of things, and there are none", Remedy: "name things, or take it out"}}
		}
		return nil
	}
	var out []bridge.Problem
	add := func(path, remedy, format string, args ...any) {
		out = append(out, bridge.Problem{Path: path, Text: fmt.Sprintf(format, args...), Remedy: remedy})
	}
	for _, p := range []struct{ key, path string }{{"cert", o.Cert}, {"key", o.Key}} {
		if p.path != "" && strings.Count(p.path, "*") != 1 {
			add(p.key, "write one * where the thing's name is, such as certs/*.pem", "%q does not say where a thing's name is", p.path)
		}
	}
	if d := o.IdleAfter; d != 0 && (d < minIdle || d > maxIdle) {
		add("idle_after", "set it between 30s and 24h, or to 0s to leave connections open", "%v is out of range", d)
	}
	if n := len(o.Things); n > MaxThings {
		add("things", fmt.Sprintf("name at most %d, those that the cloud must see as themselves", MaxThings), "%d are too many connections", n)
		return out
	}
	if len(o.Things) == 0 {
		add("cert", "put the certificates there, or take as_things out", "finds no certificate, and things names nobody")
	}
	names := map[string]bool{}
	for i, t := range o.Things {
		at := fmt.Sprintf("things[%d].", i)
		switch {
		case !validThing(t.Name):
			add(at+"name", "use 1 to 128 letters, digits, '-', '_' and ':'", "%q is not the name of a thing", t.Name)
			continue
		case names[t.Name]:
			add(at+"name", "name each once: two connections of one client id would close each other", "%q is there twice", t.Name)
		}
		names[t.Name] = true
		for _, f := range []struct{ key, path string }{{"cert", t.Cert}, {"key", t.Key}} {
			if f.path == "" {
				add(at+f.key, "name the file, or say in as_things."+f.key+" where all are", "is missing for thing %q", t.Name)
			}
		}
	}
	return append(out, TLSOptions{CA: tls.CA, ServerName: tls.ServerName}.Validate(true)...)
}

// validThing reports whether AWS takes a name for a thing's: 1 to 128 of
// [a-zA-Z0-9:_-]. Such a name has no '*', no '/' and no '@' in it, so it is a part
// of a path and of a queue's name.
func validThing(s string) bool {
	return s != "" && len(s) <= 128 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789:_-") == ""
}

// Unusable says what is wrong with the things' files: why a connection would not
// come up. The gateway runs all the same, and the thing waits.
func (o ThingsOptions) Unusable() (out []string) {
	for _, t := range o.Things {
		if p, bad := (TLSOptions{Cert: t.Cert, Key: t.Key}).validatePair(); bad {
			out = append(out, fmt.Sprintf("thing %s: %s; %s", t.Name, p.Text, p.Remedy))
		}
	}
	return out
}
