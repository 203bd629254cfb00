package filesend

import (
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

const content = "The quick brown fox jumps over the lazy dog, and then it sleeps."

// sends makes a sender of content in segments of ten bytes.
func (f *far) sends() *Sender {
	s := New(f)
	f.mu.Lock()
	defer f.mu.Unlock()
	f.hears = s.Heard
	s.ClientID, s.FileID, s.Meta.Name = "me", "f1", "fox.txt"
	s.Size, s.SHA256, s.Content = int64(len(content)), sha256.Sum256([]byte(content)), strings.NewReader(content)
	s.Segment, s.InFlight, s.Patience = 10, 4, time.Minute
	return s
}

func (f *far) arrived() {
	f.t.Helper()
	if string(f.whole) != content {
		f.t.Errorf("arrived: %q", f.whole)
	}
}

// TestSends: in every way of answering the file arrives, few segments first and no
// more than allowed.
func TestSends(t *testing.T) {
	for _, way := range []string{"MQTT 5", "MQTT 3.1.1", "async", "checksums"} {
		t.Run(way, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar(t)
				s := f.sends()
				f.v3, s.Async, s.Checksum = way == "MQTT 3.1.1", way == "async", way == "checksums"
				if way == "checksums" {
					f.script = func(_ int, rest string) verdict {
						if levels := strings.Split(rest, "/"); levels[0] != "init" && levels[0] != "fin" && (len(levels) != 2 || len(levels[1]) != 64) {
							t.Errorf("%s has no checksum", rest)
						}
						return verdict{}
					}
				}
				var last int64
				s.Progress = func(done, total int64) {
					if done < last || total != s.Size {
						t.Errorf("%d of %d after %d", done, total, last)
					}
					last = done
				}
				r, err := s.Run(t.Context())
				if err != nil {
					t.Fatal(err)
				}
				f.arrived()
				if r.Resumed != 0 || r.Messages != 9 || last != s.Size || f.most > 4 || f.most < 2 {
					t.Errorf("%+v, progress %d, at most %d on their way", r, last, f.most)
				}
				var meta Meta
				if json.Unmarshal(f.init, &meta) != nil || meta.Name != "fox.txt" || meta.Size != s.Size || meta.Checksum != s.sum() {
					t.Errorf("init %s", f.init)
				}
			})
		})
	}
}

// TestEmptyFile: a file of nothing is init and fin.
func TestEmptyFile(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		s := f.sends()
		s.Size, s.SHA256 = 0, sha256.Sum256(nil)
		if r, err := s.Run(t.Context()); err != nil || r.Messages != 2 || f.init == nil {
			t.Errorf("%+v %v", r, err)
		}
	})
}

// TestGoesOnOverCuts: what was acknowledged is not sent again on the next
// connection.
func TestGoesOnOverCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		s := f.sends()
		cuts := 0
		f.script = func(_ int, rest string) verdict {
			if (rest == "30" || rest == "fin/64/"+s.sum()) && cuts < 4 {
				cuts++
				return verdict{cut: true}
			}
			return verdict{}
		}
		if _, err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.arrived()
		if n := len(slices.DeleteFunc(slices.Clone(f.commands), func(c string) bool { return c != "0" })); n != 1 {
			t.Errorf("the first segment was sent %d times: %q", n, f.commands)
		}
	})
}

// TestARunGoesOn: a run that was ended is gone on with by the next, whatever the
// size of its segments; the note of a run about another file is not.
func TestARunGoesOn(t *testing.T) {
	path := filepath.Join(t.TempDir(), "fox.put.json")
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		ctx, cancel := context.WithCancel(t.Context())
		s := f.sends()
		s.StatePath, s.Meta.ExpireAt = path, 1000
		s.Progress = func(done, _ int64) {
			if done >= 30 {
				cancel()
			}
		}
		if _, err := s.Run(ctx); !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		synctest.Wait()
		s = f.sends()
		s.StatePath, s.Segment, s.Meta.ExpireAt = path, 7, 2000
		r, err := s.Run(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		f.arrived()
		if r.Resumed != 30 || !bytes.Contains(f.init, []byte(`"expire_at":1000`)) {
			t.Errorf("%+v, init %s", r, f.init)
		}
		if _, err := os.Stat(path); !errors.Is(err, os.ErrNotExist) {
			t.Errorf("the note is still there: %v", err)
		}
		other := state{ClientID: "me", FileID: "f2", Size: s.Size, SHA256: s.sum(), Acked: 60}
		b, _ := json.Marshal(other)
		for _, note := range []string{string(b), "{", `{"acknowledged": 99999999}`} {
			if err := os.WriteFile(path, []byte(note), 0o600); err != nil {
				t.Fatal(err)
			}
			f := newFar(t)
			s := f.sends()
			s.StatePath = path
			if r, err := s.Run(t.Context()); err != nil || r.Resumed != 0 {
				t.Errorf("%+v %v", r, err)
			}
			f.arrived()
		}
	})
}

// TestAnswers: what is said decides: waiting, sending again, all anew, or giving up.
func TestAnswers(t *testing.T) {
	first := func(n int, v verdict) func(int, string) verdict {
		return func(_ int, rest string) verdict {
			if strings.HasPrefix(rest, "20") && n > 0 {
				n--
				return v
			}
			return verdict{}
		}
	}
	for name, c := range map[string]struct {
		script func(n int, rest string) verdict
		v3     bool
		want   string // of the error; empty: it arrives
	}{
		"no room for a while":      {script: first(20, verdict{code: 0x97, word: "enospc"})},
		"no room in 3.1.1":         {script: first(20, verdict{word: "edquot"}), v3: true},
		"a damaged segment":        {script: first(3, verdict{code: 0x80, word: "checksum_mismatch"})},
		"a segment for ever":       {script: first(1000, verdict{code: 0x80, word: "eio"}), want: "a segment was refused with 0x80: eio"},
		"too big":                  {script: first(1, verdict{code: 0x83, word: "efbig"}), want: "0x83: efbig"},
		"too big in 3.1.1":         {script: first(1, verdict{word: "efbig"}), v3: true, want: "refused: efbig"},
		"a packet too large":       {script: first(1, verdict{code: 0x95, silent: true}), want: "0x95"},
		"forbidden":                {script: first(1, verdict{code: 0x87, silent: true}), want: "0x87"},
		"a refusal without a word": {script: first(1, verdict{code: 0x83, silent: true}), want: "a segment was refused with 0x83"},
		"nobody takes it":          {script: first(1, verdict{code: 0x10, silent: true}), want: "is file transfer enabled"},
		"no response in 3.1.1":     {script: first(1000, verdict{silent: true, word: "x"}), v3: true, want: "may client me subscribe to $file-response/me"},
		"a broker without files":   {script: func(int, string) verdict { return verdict{silent: true, word: "x"} }, want: "is file transfer enabled there"},
		"a fin without response": {script: func(n int, rest string) verdict {
			return verdict{silent: strings.HasPrefix(rest, "fin") && n < 10}
		}},
		"cut whenever it is sent":     {script: first(1000, verdict{cut: true}), want: "ends the connection at each attempt"},
		"another connection each way": {script: first(5, verdict{cut: true})},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				f := newFar(t)
				f.script, f.v3 = c.script, c.v3
				s := f.sends()
				var said []string
				s.Say = func(text string) { said = append(said, text) }
				_, err := s.Run(t.Context())
				if c.want == "" {
					if err != nil {
						t.Fatal(err)
					}
					f.arrived()
				} else if err == nil || !strings.Contains(err.Error(), c.want) {
					t.Errorf("%v, want %s", err, c.want)
				}
				if len(said) > 1 {
					t.Errorf("said more than once: %q", said)
				}
				synctest.Wait()
			})
		})
	}
}

// TestForgotten: what the far side has forgotten, as after its time to live, is all
// sent anew; when that happens again and again it is an error.
func TestForgotten(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		forget := 1
		f.script = func(_ int, rest string) verdict {
			if strings.HasPrefix(rest, "fin") && forget > 0 {
				forget--
				clear(f.segments)
			}
			return verdict{}
		}
		s := f.sends()
		if _, err := s.Run(t.Context()); err != nil {
			t.Fatal(err)
		}
		f.arrived()
		forget = 1000
		_, err := f.sends().Run(t.Context())
		if said, ok := errors.AsType[*Refused](err); !ok || said.Word != "incomplete" || said.Command != "fin" {
			t.Error(err)
		}
	})
}

// TestFileThatShrinks: a file that is cut while it is sent is an error, and no
// other file arrives.
func TestFileThatShrinks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		f := newFar(t)
		s := f.sends()
		s.Content = strings.NewReader(content[:25])
		if _, err := s.Run(t.Context()); err == nil || !strings.Contains(err.Error(), "has it been changed") {
			t.Error(err)
		}
		if f.whole != nil {
			t.Errorf("arrived: %q", f.whole)
		}
	})
}

// TestRefusedInWords: a refusal says what was refused, and why.
func TestRefusedInWords(t *testing.T) {
	for _, c := range []struct {
		r    Refused
		want string
	}{
		{Refused{"init", 0x87, ""}, "init was refused with 0x87"},
		{Refused{"fin", 0, "incomplete"}, "fin was refused: incomplete"},
		{Refused{"fin", 0x80, "timeout"}, "fin was refused with 0x80: timeout"},
	} {
		if got := fmt.Sprint(&c.r); got != c.want {
			t.Errorf("%q, want %q", got, c.want)
		}
	}
}
