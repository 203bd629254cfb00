package configs

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// The loader never panics, and what it finds in a file names a line of it.
func FuzzLoad(f *testing.F) {
	for _, folder := range []string{"good", "bad"} {
		for _, file := range scripts(f, folder) {
			s := readScript(f, file)
			f.Add(s.body, strings.Join(s.env, "\n"), strings.Join(s.sets, "\n"))
		}
	}
	for _, name := range []string{"ebbgate.yaml", "aws-iot-core.yaml", "mosquitto.yaml", "emqx.yaml", "savings.yaml"} {
		data, err := os.ReadFile(name)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(data), "AWS_IOT_ENDPOINT=h", "spool.dir=x")
	}
	dir := site(f)
	path := filepath.Join(dir, "fuzz.yaml")
	f.Fuzz(func(t *testing.T, yaml, env, sets string) {
		cfg, err := load(source{
			path: path, data: []byte(yaml), env: strings.Split(env, "\n"), sets: strings.Split(sets, "\n"),
			hostname: func() (string, error) { return "host", nil },
		})
		if err == nil {
			if len(Print(cfg)) == 0 {
				t.Fatal("a valid configuration prints nothing")
			}
			return
		}
		invalid, ok := errors.AsType[*Invalid](err)
		if !ok || cfg != nil || len(invalid.Problems) == 0 {
			t.Fatalf("%v is not an *Invalid alone", err)
		}
		lines := strings.Count(yaml, "\n") + 1
		for _, p := range invalid.Problems {
			if p.Text == "" || p.Remedy == "" || p.Code == "" || strings.ContainsAny(p.String(), "\n\r") {
				t.Fatalf("%+v is incomplete", p)
			}
			if p.Source == path && (p.Line < 1 || p.Line > lines+1) {
				t.Fatalf("%q names line %d of %d", p, p.Line, lines)
			}
		}
	})
}
