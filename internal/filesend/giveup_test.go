package filesend

import (
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
)

// TestNeverTaken: a run that ends with a refusal for good has the far side forget what
// it has sent, and leaves no note. What is not its own there it does not touch, and what
// the same command goes on with, once something is changed, stays.
func TestNeverTaken(t *testing.T) {
	at := func(part string, v verdict) func(int, string) verdict {
		return func(_ int, rest string) verdict {
			switch {
			case rest == commandAbort:
				return verdict{word: wordSuccess}
			case strings.HasPrefix(rest, part):
				return v
			}
			return verdict{}
		}
	}
	conflict := verdict{code: 0x80, word: "filemeta_conflict"}
	for name, c := range map[string]struct {
		script  func(int, string) verdict
		noted   int64 // by an earlier run
		aborted bool
		note    bool // stays
	}{
		"the id is another's":                    {script: at("fin", conflict), aborted: true},
		"so, and an earlier run has sent it all": {script: at("fin", conflict), noted: 64, aborted: true},
		"another is being sent":                  {script: at("init", conflict)},
		"so, and an earlier run has begun":       {script: at("init", conflict), noted: 30, note: true},
		"too large a file":                       {script: at("20", verdict{code: 0x83, word: "efbig"}), aborted: true},
		"too large a segment":                    {script: at("20", verdict{code: 0x95, silent: true}), note: true},
		"forbidden":                              {script: at("20", verdict{code: 0x87, silent: true}), note: true},
		"a disk that fails":                      {script: at("20", verdict{code: 0x80, word: "eio"}), note: true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar(t)
				f.script = c.script
				s := f.sends()
				s.StatePath = filepath.Join(t.TempDir(), "fox.put.json")
				if c.noted > 0 {
					s.resume()
					s.state.Acked = c.noted
					s.save()
				}
				_, err := s.Run(t.Context())
				if _, refused := errors.AsType[*Refused](err); !refused {
					t.Errorf("it ends with %v", err)
				}
				if aborted := slices.Contains(f.commands, commandAbort); aborted != c.aborted {
					t.Errorf("aborted: %v: %q", aborted, f.commands)
				}
				if _, err := os.Stat(s.StatePath); (err == nil) != c.note {
					t.Errorf("the note: %v", err)
				}
			})
		})
	}
}

// TestAsksFirst: of a file in several segments a fin asks whether it is there, and
// nothing is sent when it is, or never can be; else all of it is, as without. By an id
// that is not made of its name it asks when the far side knows that, after init.
func TestAsksFirst(t *testing.T) {
	for name, c := range map[string]struct {
		first   []verdict // to the first fins
		segment int
		noted   int64
		chosen  bool   // the id is not made of name and content
		want    string // of the error; empty: it is there
		sent    int64  // commands
		resumed int64
	}{
		"it is there":           {first: []verdict{{word: wordSuccess}}, segment: 10, sent: 1, resumed: 64},
		"another is":            {first: []verdict{{code: 0x80, word: "filemeta_conflict"}}, segment: 10, want: "filemeta_conflict", sent: 1},
		"nothing is":            {segment: 10, sent: 10},
		"something else is":     {first: []verdict{{code: 0x80, word: "checksum_mismatch"}}, segment: 10, sent: 10},
		"it is damaged":         {first: []verdict{{code: 0x80, word: "read_segment"}}, segment: 10, sent: 10},
		"it is being looked at": {first: []verdict{{code: 0x80, word: "timeout"}, {code: 0x97, word: "eagain"}, {cut: true}, {word: wordSuccess}}, segment: 10, sent: 4, resumed: 64},
		"it is in one segment":  {segment: 64, sent: 3},
		"it goes on":            {segment: 10, noted: 30, sent: 6, resumed: 30},

		"it is there, by a chosen id":           {chosen: true, first: []verdict{{word: wordSuccess}}, segment: 10, sent: 2, resumed: 64},
		"another is, by a chosen id":            {chosen: true, first: []verdict{{code: 0x80, word: "filemeta_conflict"}}, segment: 10, want: "filemeta_conflict", sent: 3},
		"nothing is, by a chosen id":            {chosen: true, segment: 10, sent: 10},
		"it is being looked at, by a chosen id": {chosen: true, first: []verdict{{code: 0x97, word: "eagain"}, {word: wordSuccess}}, segment: 10, sent: 4, resumed: 64},
		"one segment, by a chosen id":           {chosen: true, segment: 64, sent: 3},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar(t)
				fins := 0
				f.script = func(_ int, rest string) verdict {
					if rest == commandAbort {
						return verdict{word: wordSuccess}
					}
					if strings.HasPrefix(rest, "fin") {
						if c.chosen && f.init == nil {
							return verdict{word: wordSuccess} // it cannot say of what name it is
						}
						if fins++; fins <= len(c.first) {
							return c.first[fins-1]
						}
					}
					return verdict{}
				}
				s := f.sends()
				s.Ask, s.Chosen, s.Segment, s.StatePath = true, c.chosen, c.segment, filepath.Join(t.TempDir(), "fox.put.json")
				if c.noted > 0 {
					f.segments[0], f.segments[10], f.segments[20] = []byte(content[:10]), []byte(content[10:20]), []byte(content[20:30])
					s.resume()
					s.state.Acked = c.noted
					s.save()
				}
				r, err := s.Run(t.Context())
				switch {
				case c.want == "" && err != nil, c.want != "" && (err == nil || !strings.Contains(err.Error(), c.want)):
					t.Errorf("%v, want %q", err, c.want)
				case err == nil && r.Resumed != c.resumed:
					t.Errorf("%+v", r)
				}
				if s.sent != c.sent || !c.chosen && c.resumed == s.Size && f.init != nil {
					t.Errorf("sent %d: %q", s.sent, f.commands)
				}
				if _, err := os.Stat(s.StatePath); err == nil {
					t.Error("the note is still there")
				}
			})
		})
	}
}

// TestAsksOnce: what was told that the file is not there does not ask at each attempt.
func TestAsksOnce(t *testing.T) {
	for _, chosen := range []bool{false, true} {
		synctest.Test(t, func(t *testing.T) {
			f := newFar(t)
			cuts := 0
			f.script = func(_ int, rest string) verdict {
				if rest == "0" && cuts < 2 {
					cuts++
					return verdict{cut: true}
				}
				return verdict{}
			}
			s := f.sends()
			s.Ask, s.Chosen, s.Segment = true, chosen, 10
			if _, err := s.Run(t.Context()); err != nil {
				t.Fatal(err)
			}
			fins := 0
			for _, rest := range f.commands {
				if strings.HasPrefix(rest, "fin") {
					fins++
				}
			}
			if fins != 2 || cuts != 2 {
				t.Errorf("chosen %v: %q", chosen, f.commands)
			}
		})
	}
}
