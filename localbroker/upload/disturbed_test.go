package upload

import (
	"crypto/sha256"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestSegmentsDuringAssembly: what comes of a file while its fin is read, as from
// another connection with the same client id, never makes success of a file that cannot
// be exported: the verdict is of what is exported.
func TestSegmentsDuringAssembly(t *testing.T) {
	const was, is = "first second", "FIRST second"
	checked := func(content string) string { return fmt.Sprintf("$file/f/fin/12/%x", sha256.Sum256([]byte(content))) }
	for _, c := range []struct {
		name, fin, topic, payload string
		word, exported            string
	}{
		{"other bytes", "$file/f/fin/12", "$file/f/0", "FIRST ", "", is},
		{"other bytes than the checksum says", checked(was), "$file/f/0", "FIRST ", "checksum_mismatch", ""},
		{"the bytes of the checksum", checked(is), "$file/f/0", "FIRST ", "", is},
		{"one that covers two", "$file/f/fin/12", "$file/f/0", "FIRST second", "", is},
		{"behind the end", checked(was), "$file/f/12", "third", "", was},
		{"across the end", checked(was), "$file/f/6", "second and more", "", was},
		{"the same bytes again", checked(was), "$file/f/0", "first ", "", was},
	} {
		t.Run(c.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				y := openYard(t, nil)
				y.occupy() // so that fin waits
				y.ok("$file/f/init", `{"name":"a.bin"}`)
				y.ok("$file/f/6", "second")
				y.ok("$file/f/0", "first ")
				fin := y.begin(c.fin, "")
				synctest.Wait() // it has made its plan
				y.ok(c.topic, c.payload)
				y.unanswered(fin, "others are being read")
				y.reads.leave()
				err := <-fin
				if c.word != "" {
					y.refused(err, c.word, 0x80)
					y.ok(checked(is), "")
					c.exported = is
				} else if err != nil {
					t.Fatal(err)
				}
				y.exported(c.exported)
			})
		})
	}
}

// TestRefusedFirst: when the first command about a file could not be made durable, and
// those behind it were, these are still there after a kill (F40).
func TestRefusedFirst(t *testing.T) {
	for _, pipelined := range []bool{false, true} {
		t.Run(fmt.Sprintf("pipelined %v", pipelined), func(t *testing.T) {
			var mu sync.Mutex
			full, reached, let := true, make(chan struct{}, 1), make(chan struct{})
			y := openYard(t, func(y *yard) {
				y.sync.write = func(f *segmentFile, s stretch) error {
					mu.Lock()
					failing := full
					full = false
					mu.Unlock()
					if failing {
						reached <- struct{}{}
						<-let
						return &os.PathError{Op: "pwritev", Path: f.Name(), Err: syscall.ENOSPC}
					}
					return f.write(s)
				}
			})
			first := y.begin("$file/f/0", "first ")
			<-reached
			var second chan error
			if pipelined {
				second = y.begin("$file/f/6", "second")
			}
			close(let)
			y.refused(<-first, "enospc", 0x97)
			if !pipelined {
				second = y.begin("$file/f/6", "second")
			}
			if err := <-second; err != nil {
				t.Fatal(err)
			}
			z, err := Open(y.opts, Deps{
				Shelf: y.deps.Shelf, Target: plainFolder(y.exports), Tell: func(*bridge.Message) {}, Drops: new(bridge.DropLog), Health: &bridge.Health{},
				Log: slog.New(slog.DiscardHandler), Wall: y.deps.Wall, Messages: func() int64 { return 0 },
			})
			if err != nil {
				t.Fatal(err)
			}
			if got := z.open[pair{"c", "f"}]; got == nil || len(got.segments) != 1 {
				t.Errorf("after a restart: %+v; the second segment was acknowledged", got)
			}
		})
	}
}

// TestRefusedInit: an init that could not be kept binds its device to nothing.
func TestRefusedInit(t *testing.T) {
	var mu sync.Mutex
	full := true
	y := openYard(t, func(y *yard) {
		commit := y.sync.commit
		y.sync.commit = func(b *bridge.Batch, done func(bridge.Seq, error)) {
			mu.Lock()
			failing := full
			mu.Unlock()
			if failing {
				done(0, bridge.Errorf("commit", bridge.Full, "the disk is full"))
				return
			}
			commit(b, done)
		}
	})
	y.refused(y.send("$file/f/init", `{"name":"a.bin","expire_at":1900000000}`), "enospc", 0x97)
	y.mu.Lock()
	if len(y.open) != 0 || y.all.transfers != 0 {
		t.Errorf("%d transfers, of a command that was refused", len(y.open))
	}
	y.mu.Unlock()
	mu.Lock()
	full = false
	mu.Unlock()
	y.ok("$file/f/init", `{"name":"a.bin","expire_at":1900000001}`)
	y.ok("$file/f/0", "hello")
	y.ok("$file/f/fin/5", "")
	y.exported("hello")
}

// TestManyInits: what many say of their files at once is more than the shelf takes in
// one batch; it goes in several, and neither they nor others are refused.
func TestManyInits(t *testing.T) {
	const most = 2 << 20 // as the spool's
	reached, let := make(chan struct{}), make(chan struct{})
	var once sync.Once
	y := openYard(t, func(y *yard) {
		commit := y.sync.commit
		y.sync.commit = func(b *bridge.Batch, done func(bridge.Seq, error)) {
			once.Do(func() { close(reached); <-let })
			n := 0
			for _, p := range b.Puts {
				n += len(p.Namespace) + len(p.Key) + len(p.Value)
			}
			if n > most {
				done(0, bridge.Errorf("commit", bridge.TooLarge, "%d bytes", n))
				return
			}
			commit(b, done)
		}
	})
	first := y.begin("$file/f/init", `{"name":"a.bin"}`)
	<-reached
	init := `{"name":"a.bin","user_data":"` + strings.Repeat("<", 15<<10) + `"}`
	var answers []chan error
	for range 200 {
		answers = append(answers, y.begin("$file/g/init", init))
	}
	answers = append(answers, first, y.begin("$file/f/0", "hello"))
	close(let)
	var failed []error
	for _, a := range answers {
		if err := <-a; err != nil {
			failed = append(failed, err)
		}
	}
	if len(failed) > 0 {
		t.Errorf("%d of %d commands are refused: %v", len(failed), len(answers), failed[0])
	}
}

// TestRecordSize: the record of a transfer is about as long as what its device said.
func TestRecordSize(t *testing.T) {
	said, err := parseMeta([]byte(`{"name":"a.bin","user_data":"` + strings.Repeat("<&>", 5<<10) + `"}`))
	if err != nil {
		t.Fatal(err)
	}
	made := transfer{pair: pair{"c", "f"}, number: 1, meta: said}
	record := made.record()
	if n := len(record.Value); n > maxMeta {
		t.Errorf("a record of %d bytes, of an init of 15 KiB", n)
	}
	if got, err := decodeTransfer(record.Key, record.Value); err != nil || !got.meta.equal(said) {
		t.Errorf("decoded as %+v, %v", got, err)
	}
}
