package upload

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// heldFolder is a target that says when it is asked, and answers when it is let.
type heldFolder struct {
	plainFolder
	asked chan struct{}
	let   chan error
}

func (h *heldFolder) Put(ctx context.Context, f *bridge.File) (string, error) {
	h.asked <- struct{}{}
	if err := <-h.let; err != nil {
		return "", err
	}
	return h.plainFolder.Put(ctx, f)
}

// holdExports puts a held target in front of a yard's.
func (y *yard) holdExports() *heldFolder {
	h := &heldFolder{plainFolder(y.exports), make(chan struct{}, 10), make(chan error, 10)}
	y.deps.Target = &observed{FileTarget: h, of: y.Service}
	return h
}

// begin publishes a command; its answer follows.
func (y *yard) begin(topic, payload string) chan error {
	answer := make(chan error, 1)
	y.Take(Request{ClientID: "c", Message: &bridge.Message{Topic: topic, Payload: []byte(payload), QoS: 1}, PacketID: 1, After: func(fn func()) { fn() }},
		func(err error) { answer <- err })
	return answer
}

func (y *yard) refused(err error, word string, code byte) {
	y.t.Helper()
	if f, ok := errors.AsType[*Fault](err); !ok || f.Word != word || f.Code != code {
		y.t.Errorf("answered with %v, want %s and code %#x", err, word, code)
	}
}

func (y *yard) exported(want string) {
	y.t.Helper()
	if got, err := os.ReadFile(filepath.Join(y.exports, "c", "f", "a.bin")); err != nil || string(got) != want {
		y.t.Errorf("exported: %q, %v; want %q", got, err, want)
	}
}

// unanswered fails when a command has been answered by the time Take returned.
func (y *yard) unanswered(answer chan error, why string) {
	y.t.Helper()
	select {
	case err := <-answer:
		y.t.Errorf("answered with %v although %s", err, why)
		answer <- err
	default:
	}
}

var errAway = bridge.Errorf(bridge.OpExport, bridge.Unavailable, "the store is away")

// TestCommandsDuringExport: what a device sends while its fin exports, as after a
// cut, changes nothing: fin joins (F35), an equal init is a success (F20), another a
// conflict (F21), other bytes have to wait. When the export fails all fins do, and
// the segments are kept (F52).
func TestCommandsDuringExport(t *testing.T) {
	var h *heldFolder
	y := openYard(t, func(y *yard) { h = y.holdExports() })
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", "first ")
	y.ok("$file/f/6", "second")
	first := y.begin("$file/f/fin/12", "")
	<-h.asked
	second := y.begin("$file/f/fin/12", "")
	y.unanswered(second, "nothing has been exported")
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.refused(y.send("$file/f/init", `{"name":"b.bin"}`), "filemeta_conflict", 0x80)
	y.ok("$file/f/0", "first ")
	y.refused(y.send("$file/f/0", "FIRST "), "eagain", 0x97)
	y.refused(y.send("$file/f/12", "third"), "eagain", 0x97)
	y.ok("$file/f/abort", "") // F43: what is being exported stays
	if all, _ := y.Running("", 10); len(all) != 1 || all[0].State != StateExporting || all[0].Segments != 2 {
		t.Errorf("while it is exported: %+v", all)
	}
	h.let <- errAway
	y.refused(faultOf(<-first), "internal_error", 0x80)
	y.refused(faultOf(<-second), "internal_error", 0x80)
	h.let <- nil
	y.ok("$file/f/fin/12", "")
	y.exported("first second")
	if n := y.usage["c"]; n != nil {
		t.Errorf("the client is charged for %+v", n)
	}
}

// TestDirectFailure: why an export fails that a fin waits for is said where it is looked
// for, until one succeeds; its device hears a word only.
func TestDirectFailure(t *testing.T) {
	var h *heldFolder
	y := openYard(t, func(y *yard) { h = y.holdExports() })
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", "first")
	h.let <- errAway
	y.refused(faultOf(y.send("$file/f/fin/5", "")), "internal_error", 0x80)
	if all, _ := y.Running("", 10); len(all) != 1 || all[0].State != StateOpen || !strings.Contains(all[0].Error, "the store is away") {
		t.Errorf("listed as %+v", all)
	}
	if text := y.warns(warningExport); !strings.Contains(text, "a.bin of c") || !strings.Contains(text, "the store is away") {
		t.Errorf("it warns: %s", text)
	}
	h.let <- nil
	y.ok("$file/f/fin/5", "")
	if text := y.warns(warningExport); text != "" {
		t.Errorf("when it has succeeded it warns: %s", text)
	}
}

// TestFinBeforeItsRecord: with mode spooled another fin is a success only when the
// record that queues the file is durable (F35, F40).
func TestFinBeforeItsRecord(t *testing.T) {
	asked, let := make(chan struct{}, 10), make(chan error, 10)
	y := openYard(t, func(y *yard) {
		y.opts.Export.Mode = modeSpooled
		commit := y.sync.commit
		y.sync.commit = func(b *bridge.Batch, done func(bridge.Seq, error)) {
			for _, p := range b.Puts {
				if bytes.Contains(p.Value, []byte(`"verified"`)) {
					asked <- struct{}{}
					if err := <-let; err != nil {
						done(0, err)
						return
					}
				}
			}
			commit(b, done)
		}
	})
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", "first")
	first := y.begin("$file/f/fin/5", "")
	<-asked
	second := y.begin("$file/f/fin/5", "")
	y.unanswered(second, "the record is not durable")
	let <- syscall.EIO
	y.refused(faultOf(<-first), "eio", 0x80)
	y.refused(faultOf(<-second), "eio", 0x80)
	let <- nil
	y.ok("$file/f/fin/5", "")
}

// TestFinAfterRestart: a gateway that ends while a fin exports with mode direct
// exports the file after its next start, and the device's next fin is a success only
// then, also when it sends everything anew before (F52).
func TestFinAfterRestart(t *testing.T) {
	for _, anew := range []bool{false, true} {
		t.Run(fmt.Sprintf("anew %v", anew), func(t *testing.T) {
			var h *heldFolder
			y := openYard(t, func(y *yard) { h = y.holdExports() })
			y.ok("$file/f/init", `{"name":"a.bin"}`)
			y.ok("$file/f/0", "first")
			fin := y.begin("$file/f/fin/5", "")
			<-h.asked
			shelf := y.deps.Shelf.(*memoryShelf)
			shelf.mu.Lock()
			left := maps.Clone(shelf.values)
			shelf.mu.Unlock()
			h.let <- errAway
			y.refused(faultOf(<-fin), "internal_error", 0x80)

			z := &yard{t: t, health: &bridge.Health{}, exports: y.exports}
			var err error
			z.Service, err = Open(y.opts, Deps{
				Shelf: &memoryShelf{values: left}, Target: y.deps.Target, Tell: func(*bridge.Message) {}, Drops: new(bridge.DropLog), Health: z.health,
				Log: slog.New(slog.DiscardHandler), Wall: y.deps.Wall, Messages: func() int64 { return 0 },
			})
			if err != nil {
				t.Fatal(err)
			}
			h = z.holdExports()
			ctx, stop := context.WithCancel(t.Context())
			ended := make(chan error, 1)
			go func() { ended <- z.Run(ctx) }()
			defer func() {
				stop()
				if err := <-ended; err != nil {
					t.Error(err)
				}
			}()
			<-h.asked
			if anew {
				z.ok("$file/f/init", `{"name":"a.bin"}`)
				z.ok("$file/f/0", "first")
			}
			fin = z.begin("$file/f/fin/5", "")
			if anew { // its work is begun by the syncer, behind what is asked for next
				z.ok("$file/other/init", `{"name":"a.bin"}`)
			}
			z.unanswered(fin, "nothing has been exported")
			h.let <- errAway
			h.let <- nil
			if err := <-fin; err != nil {
				z.refused(faultOf(err), "internal_error", 0x80)
				z.ok("$file/f/fin/5", "")
			}
			z.exported("first")
		})
	}
}

// TestRefusedReplacement: a segment that cannot be written does not take the place of
// the one that was acknowledged before it.
func TestRefusedReplacement(t *testing.T) {
	full := make(chan struct{}, 1)
	y := openYard(t, func(y *yard) {
		y.sync.write = func(f *segmentFile, s stretch) error {
			select {
			case <-full:
				return &os.PathError{Op: "pwritev", Path: f.Name(), Err: syscall.ENOSPC}
			default:
				return f.write(s)
			}
		}
	})
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", "first")
	full <- struct{}{}
	y.refused(faultOf(y.send("$file/f/0", "other")), "enospc", 0x97)
	y.ok(fmt.Sprintf("$file/f/fin/5/%x", sha256.Sum256([]byte("first"))), "")
	y.exported("first")
}

// TestExpiredRoom: the room of segments that have expired is given back while their
// transfer lives (F42, F49), and a restart counts no more.
func TestExpiredRoom(t *testing.T) {
	now := time.Hour
	y := openYard(t, func(y *yard) {
		y.now = func() time.Duration { return now }
		y.opts.MaxClientSize, y.opts.Lifetime = 3*blockSize, 1000*time.Hour
	})
	a, b := bytes.Repeat([]byte("a"), blockSize), bytes.Repeat([]byte("b"), blockSize)
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", string(a))
	y.ok(fmt.Sprintf("$file/f/%d", blockSize), string(b))
	y.mu.Lock()
	now += y.opts.MaxTTL
	y.mu.Unlock()
	y.ok("$file/f/init", `{"name":"a.bin"}`) // it lives
	y.Sweep()
	y.ok("$file/f/0", string(a))
	y.ok(fmt.Sprintf("$file/f/%d", blockSize), string(b))
	z, err := Open(y.opts, y.deps)
	if err != nil {
		t.Fatal(err)
	}
	y.mu.Lock()
	if was, is := y.usage["c"].bytes, z.usage["c"].bytes; was != 2*blockSize || is != 2*blockSize {
		t.Errorf("the client is charged for %d bytes, after a restart for %d; want %d", was, is, 2*blockSize)
	}
	y.mu.Unlock()
	y.ok(fmt.Sprintf("$file/f/fin/%d", 2*blockSize), "")
	y.exported(string(a) + string(b))
}
