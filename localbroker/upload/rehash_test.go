package upload

import (
	"context"
	"crypto/sha256"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestRehashTurns: a file whose segments came out of order waits for its turn to be
// read, whatever it is sent with; one that came in order does not (F02). When the
// gateway ends, who waits is told to come again.
func TestRehashTurns(t *testing.T) {
	y := openYard(t, nil)
	y.occupy()
	for _, file := range []string{"f", "g"} {
		y.ok("$file/"+file+"/init", `{"name":"a.bin"}`)
		y.ok("$file/"+file+"/6", "second")
		y.ok("$file/"+file+"/0", "first ")
	}
	first, second := y.begin("$file/f/fin/12", ""), y.begin("$file/g/fin/12", "")
	y.ok("$file/straight/init", `{"name":"a.bin"}`)
	y.ok("$file/straight/0", "hello")
	y.ok("$file/straight/fin/5", "")
	y.unanswered(first, "others are being read")
	y.unanswered(second, "others are being read")
	y.reads.leave()
	for _, answer := range []chan error{first, second} {
		if err := <-answer; err != nil {
			t.Error(err)
		}
	}
	y.exported("first second")
}

// occupy takes all places of those who read files for their checksums.
func (y *yard) occupy() {
	y.t.Helper()
	for range rehashAtOnce {
		if err := y.reads.take(y.ending, "others"); err != nil {
			y.t.Fatal(err)
		}
	}
}

// TestRehashOthers: a client that has large files read keeps nobody waiting: after some
// megabytes it is another's turn. Its own are read in the order of their fins.
func TestRehashOthers(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := openYard(t, nil)
		y.occupy()
		part := strings.Repeat("x", rehashTurn/4)
		command := func(client, topic, payload string) chan error {
			answer := make(chan error, 1)
			y.Take(Request{ClientID: client, Message: &bridge.Message{Topic: topic, Payload: []byte(payload), QoS: 1}, PacketID: 1, After: func(fn func()) { fn() }},
				func(err error) { answer <- err })
			return answer
		}
		var mu sync.Mutex
		var ended []string
		finish := func(client, file, part string, parts int) {
			t.Helper()
			for i := parts - 1; i >= 0; i-- { // so that nothing is hashed as it comes
				if err := <-command(client, fmt.Sprintf("$file/%s/%d", file, i*len(part)), part); err != nil {
					t.Fatal(err)
				}
			}
			if err := <-command(client, "$file/"+file+"/init", `{"name":"a.bin"}`); err != nil {
				t.Fatal(err)
			}
			fin := command(client, fmt.Sprintf("$file/%s/fin/%d", file, parts*len(part)), "")
			go func() {
				if err := <-fin; err != nil {
					t.Error(err)
				}
				mu.Lock()
				defer mu.Unlock()
				ended = append(ended, client+file)
			}()
			synctest.Wait()
		}
		finish("a", "1", part, 12)
		finish("a", "2", part, 5)
		finish("b", "1", part, 8)
		finish("c", "1", "hello", 2)
		y.reads.leave()
		synctest.Wait()
		time.Sleep(time.Hour) // what reads rests for messages
		synctest.Wait()
		mu.Lock()
		defer mu.Unlock()
		if got, want := fmt.Sprint(ended), "[c1 b1 a1 a2]"; got != want {
			t.Errorf("ended %s, want %s", got, want)
		}
		y.reads.leave()
	})
}

// TestWrongAgain: a checksum that is known to be wrong is not looked for again, until
// there are other segments.
func TestWrongAgain(t *testing.T) {
	y := openYard(t, nil)
	wrong, right := fmt.Sprintf("$file/f/fin/12/%064d", 0), fmt.Sprintf("$file/f/fin/12/%x", sha256.Sum256([]byte("FIRST second")))
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/6", "second")
	y.ok("$file/f/0", "first ")
	y.refused(y.send(wrong, ""), "checksum_mismatch", 0x80)
	y.occupy()
	y.refused(y.send(wrong, ""), "checksum_mismatch", 0x80)
	y.refused(y.send(right, ""), "checksum_mismatch", 0x80)
	y.reads.leave()
	y.ok("$file/f/0", "FIRST ")
	y.ok(right, "")
	y.exported("FIRST second")
}

// TestRehashEnds: the end of the gateway does not wait for files that are being read.
func TestRehashEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := newYard(t)
		ctx, stop := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- y.Run(ctx) }()
		y.occupy()
		y.ok("$file/f/init", `{"name":"a.bin"}`)
		y.ok("$file/f/6", "second")
		y.ok("$file/f/0", "first ")
		fin := y.begin("$file/f/fin/12", "")
		synctest.Wait()
		y.unanswered(fin, "others are being read")
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		y.refused(<-fin, "eagain", 0x97)
		if got := fmt.Sprint(y.all.transfers, len(y.open)); got != "1 1" {
			t.Errorf("transfers: %s; the segments stay", got)
		}
	})
}

// tailFolder is a target elsewhere: each byte that is read of it crosses a link.
type tailFolder struct {
	plainFolder
	from chan int64
}

func (f tailFolder) OpenFrom(ctx context.Context, place string, from, _ int64) (io.ReadCloser, error) {
	f.from <- from
	in, err := f.Open(ctx, place)
	if err == nil {
		err = skip(in, from)
	}
	return in, err
}

// TestEndSentAgain: a device that has lost the answers to its last segments and fin
// sends those again: of the exported file only they are read, from where it is (F33).
// Other bytes, and bytes behind its end, are refused (F34).
func TestEndSentAgain(t *testing.T) {
	y := openYard(t, func(y *yard) { y.tail = tailFolder{plainFolder(y.exports), make(chan int64, 10)} })
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", strings.Repeat("x", 1000))
	y.ok("$file/f/1000", "the end")
	y.ok("$file/f/fin/1007", "")
	y.ok("$file/f/1000", "the end")
	y.ok("$file/f/fin/1007", "")
	y.ok("$file/f/1000", "THE END")
	y.refused(y.send("$file/f/fin/1007", ""), "incomplete", 0x80)
	y.ok("$file/f/abort", "")
	y.ok("$file/f/5000", "behind")
	y.refused(y.send("$file/f/fin/1007", ""), "incomplete", 0x80)
	y.ok("$file/f/abort", "")
	y.ok(fmt.Sprintf("$file/f/fin/1007/%x", sha256.Sum256([]byte(strings.Repeat("x", 1000)+"the end"))), "") // nothing of it need be read
	from := y.tail.(tailFolder).from
	close(from)
	var asked []int64
	for at := range from {
		asked = append(asked, at)
	}
	if got := fmt.Sprint(asked); got != "[1000 1000]" {
		t.Errorf("read from %s", got)
	}
}

// TestEndsSentAgain: of a large file only the pieces that were sent again are read, and
// not what is between them.
func TestEndsSentAgain(t *testing.T) {
	y := openYard(t, func(y *yard) { y.tail = tailFolder{plainFolder(y.exports), make(chan int64, 10)} })
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", strings.Repeat("a", 16))
	y.ok("$file/f/16", strings.Repeat("x", 2*readOver))
	y.ok(fmt.Sprintf("$file/f/%d", 16+2*readOver), "the end")
	fin := fmt.Sprintf("$file/f/fin/%d", 16+2*readOver+7)
	y.ok(fin, "")
	y.ok("$file/f/0", strings.Repeat("a", 16))
	y.ok(fmt.Sprintf("$file/f/%d", 16+2*readOver), "the end")
	y.ok(fin, "")
	y.ok("$file/f/0", strings.Repeat("a", 16))
	y.ok(fmt.Sprintf("$file/f/%d", 16+2*readOver), "THE END")
	y.refused(y.send(fin, ""), "incomplete", 0x80)
	from := y.tail.(tailFolder).from
	close(from)
	var asked []int64
	for at := range from {
		asked = append(asked, at)
	}
	if got, want := fmt.Sprint(asked), fmt.Sprint([]int64{0, 16 + 2*readOver, 0, 16 + 2*readOver}); got != want {
		t.Errorf("read from %s, want %s", got, want)
	}
}

// TestLooks: fins of a few bytes about a file that is elsewhere do not have it read again
// and again: what was found is remembered, other pieces wait for their turn, and for too
// many of them, or too much, it is not looked at all.
func TestLooks(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		y := openYard(t, func(y *yard) { y.tail = tailFolder{plainFolder(y.exports), make(chan int64, 1000)} })
		looked := func() int { return len(y.tail.(tailFolder).from) }
		const size, part = 20 * readOver, 10 * readOver
		y.ok("$file/f/init", `{"name":"a.bin"}`)
		y.ok("$file/f/0", strings.Repeat("x", part))
		y.ok(fmt.Sprintf("$file/f/%d", part), strings.Repeat("x", part))
		fin := fmt.Sprintf("$file/f/fin/%d", size)
		y.ok(fin, "")
		y.ok("$file/f/0", "xxxx")
		y.ok(fmt.Sprintf("$file/f/%d", part), "yyyy")
		for range 10 {
			y.refused(y.send(fin, ""), "incomplete", 0x80)
		}
		if n := looked(); n != 2 {
			t.Errorf("looked %d times for the same, want 2", n)
		}
		waits := 0
		for i := range looksBurst {
			y.ok(fmt.Sprintf("$file/f/%d", part), fmt.Sprintf("y%03d", i))
			if err := y.send(fin, ""); err == errBusy {
				waits++
			}
		}
		if n := looked(); n > looksBurst || waits == 0 {
			t.Errorf("looked %d times, and had to wait %d times", n, waits)
		}
		before := looked()
		time.Sleep(10 * time.Minute)
		y.ok("$file/f/abort", "")
		for i := range mostLooks + 1 {
			y.ok(fmt.Sprintf("$file/f/%d", 2*i*readOver), "x")
		}
		y.refused(y.send(fin, ""), "incomplete", 0x80)
		if n := looked(); n != before {
			t.Errorf("looked into %d places", n-before)
		}
		y.ok("$file/f/abort", "")
		y.ok(fmt.Sprintf("$file/f/%d", size-4), "xxxx")
		y.ok(fin, "")
	})
}

// TestHeadReadsNothing: who asks for the headers of a file gets them alone.
func TestHeadReadsNothing(t *testing.T) {
	y := openYard(t, nil)
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/0", "content")
	y.ok("$file/f/fin/7", "")
	y.exported("content")
	for method, want := range map[string]string{http.MethodHead: "", http.MethodGet: "content"} {
		w := httptest.NewRecorder()
		err := y.Service.ServeContent(w, httptest.NewRequest(method, "/", nil), "c", "f")
		if err != nil || w.Body.String() != want || w.Header().Get("Content-Length") != "7" {
			t.Errorf("%s: %v, %q, %v", method, err, w.Body, w.Header())
		}
	}
}

// TestFinStorm: a device that sends fin again and again while its file is read takes no
// more memory than a few of them: they are answered, one way or the other.
func TestFinStorm(t *testing.T) {
	const storm = 3 * mostWaiting
	y := openYard(t, nil)
	answers := make(chan *bridge.Message, 2*storm)
	y.deps.Tell = func(m *bridge.Message) { answers <- m }
	y.occupy()
	y.ok("$file/f/init", `{"name":"a.bin"}`)
	y.ok("$file/f/6", "second")
	y.ok("$file/f/0", "first ")
	for range 3 { // what was answered until now
		<-answers
	}
	for range storm {
		y.ok("$file-async/f/fin/12", "")
	}
	for range storm - mostWaiting {
		if m := <-answers; !strings.Contains(string(m.Payload), "eagain") {
			t.Errorf("answered with %s", m.Payload)
		}
	}
	y.mu.Lock()
	if n := len(y.open[pair{"c", "f"}].job.waiting); n != mostWaiting {
		t.Errorf("%d wait, want %d", n, mostWaiting)
	}
	y.mu.Unlock()
	y.reads.leave()
	for range mostWaiting {
		if m := <-answers; !strings.Contains(string(m.Payload), "success") {
			t.Errorf("answered with %s", m.Payload)
		}
	}
	y.exported("first second")
}
