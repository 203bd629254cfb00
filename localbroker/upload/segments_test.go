package upload

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
)

// noise is bytes that do not repeat.
func noise(rnd *rand.Rand, n int) []byte {
	var seed [32]byte
	binary.BigEndian.PutUint64(seed[:], rnd.Uint64())
	b := make([]byte, n)
	_, _ = rand.NewChaCha8(seed).Read(b) // never fails
	return b
}

// TestSizes: files in segments of any size, whole blocks and others mixed, sent
// again and beside each other, are byte for byte what was sent.
func TestSizes(t *testing.T) {
	rnd := rand.New(rand.NewPCG(3, 4))
	y := openYard(t, func(y *yard) { y.sync.pacer.messages = func() int64 { return 0 } })
	for file, sizes := range [][]int{{blockSize}, {3 * blockSize}, {128 << 10}, {1 << 20}, {1000}, {blockSize, 999}, {blockSize - 1, blockSize, 2 * blockSize}, {64 << 10, 64 << 10, 100}} {
		id := fmt.Sprintf("f%d", file)
		var content []byte
		var cuts []int
		for i := range 24 {
			cuts = append(cuts, len(content))
			content = append(content, noise(rnd, sizes[i%len(sizes)])...)
		}
		cuts = append(cuts, len(content))
		y.ok("$file/"+id+"/init", `{"name":"a.bin"}`)
		for i := range cuts[1:] {
			y.ok(fmt.Sprintf("$file/%s/%d", id, cuts[i]), string(content[cuts[i]:cuts[i+1]]))
			if i%5 == 4 { // as after an answer that was lost
				y.ok(fmt.Sprintf("$file/%s/%d", id, cuts[i]), string(content[cuts[i]:cuts[i+1]]))
			}
		}
		y.ok(fmt.Sprintf("$file/%s/fin/%d/%x", id, len(content), sha256.Sum256(content)), "")
		got, err := os.ReadFile(filepath.Join(y.exports, "c", id, "a.bin"))
		if err != nil || !bytes.Equal(got, content) {
			t.Errorf("segments of %v: %d bytes that are not the %d sent, %v", sizes, len(got), len(content), err)
		}
	}
}

// TestTogether: many senders at once, more than there is memory for at a time, with
// messages and without: what waits is bounded, what is written while there are
// messages comes in small pieces, and every byte arrives.
func TestTogether(t *testing.T) {
	for _, gentle := range []bool{false, true} {
		t.Run(fmt.Sprintf("gentle %v", gentle), func(t *testing.T) {
			const segment, count = 512 << 10, 40
			content := noise(rand.New(rand.NewPCG(5, 6)), segment*count)
			var mu sync.Mutex
			most, longest := int64(0), int64(0)
			y := openYard(t, func(y *yard) {
				y.sync.gentle = gentle // as after the first group
				y.sync.write = func(f *segmentFile, s stretch) error {
					y.sync.mu.Lock()
					waiting := y.sync.waiting
					y.sync.mu.Unlock()
					mu.Lock()
					most, longest = max(most, waiting), max(longest, s.length)
					mu.Unlock()
					return f.write(s)
				}
				if !gentle {
					y.sync.pacer.messages = func() int64 { return 0 }
				}
			})
			y.ok("$file/f/init", `{"name":"a.bin"}`)
			var senders sync.WaitGroup
			for i := range count {
				senders.Go(func() {
					if err := y.send(fmt.Sprintf("$file/f/%d", i*segment), string(content[i*segment:(i+1)*segment])); err != nil {
						t.Error(err)
					}
				})
			}
			senders.Wait()
			bound, piece := int64(waitingBytes), int64(stretchBytes)
			if gentle {
				bound, piece = yieldWaiting, yieldPiece
			}
			if most > bound || longest > piece {
				t.Errorf("%d bytes were waiting, and %d written at once; %d and %d are allowed", most, longest, bound, piece)
			}
			y.sync.mu.Lock()
			if y.sync.waiting != 0 {
				t.Errorf("%d bytes are still counted", y.sync.waiting)
			}
			y.sync.mu.Unlock()
			y.ok(fmt.Sprintf("$file/f/fin/%d/%x", len(content), sha256.Sum256(content)), "")
		})
	}
}

// TestWriteFailure: a segment that the disk has no room for is refused with 0x97 and
// costs its client nothing; sent again it makes the file whole.
func TestWriteFailure(t *testing.T) {
	for _, gentle := range []bool{false, true} {
		t.Run(fmt.Sprintf("gentle %v", gentle), func(t *testing.T) {
			var mu sync.Mutex
			full := false
			y := openYard(t, func(y *yard) {
				y.sync.write = func(f *segmentFile, s stretch) error {
					mu.Lock()
					defer mu.Unlock()
					if full {
						return &os.PathError{Op: "pwritev", Path: f.Name(), Err: syscall.ENOSPC}
					}
					return f.write(s)
				}
				if !gentle {
					y.sync.pacer.messages = func() int64 { return 0 }
				}
			})
			content := noise(rand.New(rand.NewPCG(7, 8)), 2*blockSize)
			y.ok("$file/f/init", `{"name":"a.bin"}`)
			y.ok("$file/f/0", string(content[:blockSize]))
			mu.Lock()
			full = true
			mu.Unlock()
			var f *Fault
			if err := y.send(fmt.Sprintf("$file/f/%d", blockSize), string(content[blockSize:])); !errors.As(err, &f) || f.Word != "enospc" || f.Code != 0x97 {
				t.Errorf("on a full disk: %v", err)
			}
			if y.warned(warningSync) {
				t.Error("it is said that the disk has not confirmed what was never written")
			}
			mu.Lock()
			full = false
			mu.Unlock()
			y.mu.Lock()
			if u := y.usage["c"]; u.bytes != blockSize || u.segments != 1 {
				t.Errorf("the client is charged for %d bytes in %d segments, has %d in 1", u.bytes, u.segments, blockSize)
			}
			y.mu.Unlock()
			y.ok(fmt.Sprintf("$file/f/%d", blockSize), string(content[blockSize:]))
			y.ok(fmt.Sprintf("$file/f/fin/%d/%x", len(content), sha256.Sum256(content)), "")
			got, err := os.ReadFile(filepath.Join(y.exports, "c", "f", "a.bin"))
			if err != nil || !bytes.Equal(got, content) {
				t.Errorf("exported: %d bytes that are not the %d sent, %v", len(got), len(content), err)
			}
		})
	}
}

// TestStretches: what is cut for writing is what was given, in order, with no piece
// longer than it may be and no part of one behind another's place.
func TestStretches(t *testing.T) {
	rnd := rand.New(rand.NewPCG(9, 10))
	for range 30 {
		var steps []step
		want, at := map[int64]byte{}, int64(0)
		for range 1 + rnd.IntN(12) {
			if rnd.IntN(3) == 0 {
				at += int64(rnd.IntN(3)) * blockSize // as behind one that has failed
			}
			n := 1 + rnd.IntN(5*blockSize)
			if rnd.IntN(2) == 0 {
				n = blockSize * (1 + rnd.IntN(5))
			}
			b := noise(rnd, n)
			steps = append(steps, step{at: at, data: new(loads).take(b, 1)})
			for i, c := range b {
				want[at+int64(i)] = c
			}
			at += int64(n)
		}
		const most = 2 * blockSize
		for _, s := range stretches(steps, most) {
			length := int64(0)
			for _, p := range s.parts {
				if s.blocks && (len(p)%blockSize != 0 || (s.at+length)%blockSize != 0) {
					t.Fatalf("%d bytes at %d are no whole blocks", len(p), s.at+length)
				}
				for i, c := range p {
					if have, due := want[s.at+length+int64(i)]; !due || have != c {
						t.Fatalf("at %d: %d, due %v, want %d", s.at+length+int64(i), c, due, have)
					}
					delete(want, s.at+length+int64(i))
				}
				length += int64(len(p))
			}
			if length != s.length || length > most {
				t.Fatalf("%d bytes in a stretch of %d, at most %d", length, s.length, most)
			}
		}
		if len(want) > 0 {
			t.Fatalf("%d bytes are written nowhere", len(want))
		}
	}
}

// TestNotDirect: what the file system refuses to write past its cache, as some do
// only when it is tried, is written through it.
func TestNotDirect(t *testing.T) {
	name := filepath.Join(t.TempDir(), "a.segments")
	f, err := openSegments(name, os.O_CREATE)
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := f.Close(); err != nil {
			t.Error(err)
		}
	}()
	content := noise(rand.New(rand.NewPCG(11, 12)), 2*blockSize)
	odd := append(blocks(3 * blockSize)[1:1], content...) // no disk can take it from there
	for _, s := range []stretch{{length: blockSize, parts: [][]byte{odd[:blockSize]}, blocks: true}, {at: blockSize, length: blockSize, parts: [][]byte{odd[blockSize:]}, blocks: true}} {
		if err := f.write(s); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(name)
	if err != nil || !bytes.Equal(got, content) {
		t.Errorf("%d bytes that are not the %d written, %v", len(got), len(content), err)
	}
}

// TestBehind: what a system call has not taken of several parts is written next.
func TestBehind(t *testing.T) {
	parts := [][]byte{[]byte("ab"), []byte("cde"), []byte("f")}
	for n, want := range []string{"abcdef", "bcdef", "cdef", "def", "ef", "f", ""} {
		if got := string(bytes.Join(behind(parts, n), nil)); got != want {
			t.Errorf("behind %d: %q, want %q", n, got, want)
		}
	}
	if string(bytes.Join(parts, nil)) != "abcdef" {
		t.Error("the parts themselves have been changed")
	}
}
