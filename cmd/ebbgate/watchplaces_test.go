package main

import (
	"bufio"
	"errors"
	"io"
	"net"
	"net/http"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// stillTransfers is a source in which nothing changes.
type stillTransfers struct{}

func (stillTransfers) Running(string, int) ([]upload.Transfer, string) {
	return []upload.Transfer{{ClientID: "c", FileID: "f", State: upload.StateOpen}}, ""
}

func (stillTransfers) Show(string, string) ([]upload.Detail, error) { return nil, nil }

// pipes is a listener of connections within the process, so that time can be the
// test's.
type pipes struct {
	incoming chan net.Conn
	closed   chan struct{}
}

func (p *pipes) Accept() (net.Conn, error) {
	select {
	case c := <-p.incoming:
		return c, nil
	case <-p.closed:
		return nil, net.ErrClosed
	}
}

func (p *pipes) Close() error { close(p.closed); return nil }

func (p *pipes) Addr() net.Addr { return &net.UnixAddr{Name: "pipes"} }

// roomyConn is a connection whose kernel takes whatever is written, as it does for
// a reader who reads nothing of a stream in which little happens.
type roomyConn struct{ net.Conn }

func (c *roomyConn) Write(b []byte) (int, error) { return len(b), nil }

// watchServer serves streams of changes in a bubble.
type watchServer struct {
	pipes
	places watchPlaces
}

func startWatchServer(t *testing.T) *watchServer {
	s := &watchServer{pipes: pipes{make(chan net.Conn), make(chan struct{})}}
	server := http.Server{Handler: http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if err := s.places.watch(w, r, stillTransfers{}); err != nil {
			t.Error(err)
		}
	})}
	ended := make(chan error, 1)
	go func() { ended <- server.Serve(&s.pipes) }()
	t.Cleanup(func() {
		_ = server.Close()
		<-ended
		synctest.Wait()
	})
	return s
}

func (s *watchServer) held() int {
	synctest.Wait()
	s.places.mu.Lock()
	defer s.places.mu.Unlock()
	return len(s.places.held)
}

// open asks for a stream, and reads nothing yet.
func (s *watchServer) open(t *testing.T, roomy bool) net.Conn {
	t.Helper()
	mine, theirs := net.Pipe()
	t.Cleanup(func() { _ = mine.Close() })
	if roomy {
		theirs = &roomyConn{theirs}
	}
	s.incoming <- theirs
	if _, err := io.WriteString(mine, "GET / HTTP/1.1\r\nHost: localhost\r\n\r\n"); err != nil {
		t.Fatal(err)
	}
	return mine
}

// ask opens a stream and reads how it is answered.
func (s *watchServer) ask(t *testing.T) (*http.Response, net.Conn) {
	t.Helper()
	conn := s.open(t, false)
	resp, err := http.ReadResponse(bufio.NewReader(conn), nil)
	if err != nil {
		t.Fatal(err)
	}
	return resp, conn
}

// TestWatcherWithoutRoom: a reader who stops reading and whose buffers are full is
// cut off although nothing changes, by what is said to show that the stream lives.
func TestWatcherWithoutRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startWatchServer(t)
		resp, _ := s.ask(t)
		first := make([]byte, len("retry: 1000\n\nevent: transfer\n"))
		if _, err := io.ReadFull(resp.Body, first); err != nil || string(first) != "retry: 1000\n\nevent: transfer\n" {
			t.Fatalf("%q, %v", first, err)
		}
		if n := s.held(); n != 1 {
			t.Fatalf("%d places are held", n)
		}
		time.Sleep(watchAlive + watchPatience + 2*watchEvery)
		if n := s.held(); n != 0 {
			t.Errorf("%d places are held by who does not read", n)
		}
	})
}

// TestWatcherWhoReads: one who reads keeps his place for as long as he likes while
// nobody else wants it, and hears that the stream lives.
func TestWatcherWhoReads(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startWatchServer(t)
		resp, conn := s.ask(t)
		read := make(chan string)
		go func() {
			b, _ := io.ReadAll(resp.Body)
			read <- string(b)
		}()
		time.Sleep(time.Hour)
		if n := s.held(); n != 1 {
			t.Errorf("%d places are held", n)
		}
		_ = conn.Close()
		if n := strings.Count(<-read, ": alive\n\n"); n < 60*4-2 {
			t.Errorf("heard %d times that it lives", n)
		}
		if n := s.held(); n != 0 {
			t.Errorf("%d places are held by who has hung up", n)
		}
	})
}

// TestSilentWatchersMakeWay: readers who read nothing while their kernels take all
// that is said hold the places only until somebody else wants one, and no newcomer
// takes one from who has just come.
func TestSilentWatchersMakeWay(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startWatchServer(t)
		for range watchesAtOnce - 1 {
			s.open(t, true)
		}
		s.held()
		time.Sleep(time.Second)
		s.open(t, false) // its buffers are full from the first byte
		if n := s.held(); n != watchesAtOnce {
			t.Fatalf("%d places are held", n)
		}
		time.Sleep(4 * time.Second) // too short for a stall
		resp, _ := s.ask(t)
		text, err := io.ReadAll(resp.Body)
		if resp.StatusCode != http.StatusOK || resp.Header.Get("Retry-After") != "56" || err != nil || string(text) != ": "+tooManyWatch+"\nretry: 56000\n\n" {
			t.Errorf("one too many: %s, Retry-After %s, %q, %v", resp.Status, resp.Header.Get("Retry-After"), text, err)
		}
		time.Sleep(55 * time.Second)
		for i := range watchesAtOnce {
			resp, conn := s.ask(t)
			if resp.StatusCode != http.StatusOK || waitOf(resp) != 0 {
				t.Fatalf("newcomer %d: %s, Retry-After %s", i, resp.Status, resp.Header.Get("Retry-After"))
			}
			go func() { _, _ = io.Copy(io.Discard, conn) }()
			if n := s.held(); n > watchesAtOnce {
				t.Errorf("%d places are held", n)
			}
		}
		resp, _ = s.ask(t)
		if waitOf(resp) == 0 {
			t.Errorf("a newcomer takes the place of one who has just come: %s", resp.Status)
		}
	})
}

// TestWatcherEndsWell: the stream of one who reads and makes way ends as a stream
// does, so that he asks again.
func TestWatcherEndsWell(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := startWatchServer(t)
		resp, _ := s.ask(t)
		ended := make(chan error, 1)
		go func() {
			_, err := io.Copy(io.Discard, resp.Body)
			ended <- err
		}()
		for range watchesAtOnce - 1 {
			s.open(t, true)
		}
		time.Sleep(watchKeeps)
		s.open(t, true)
		time.Sleep(2 * watchEvery)
		synctest.Wait()
		select {
		case err := <-ended:
			if err != nil {
				t.Errorf("it ended by %v", err)
			}
		default:
			t.Error("he was not asked to make way")
		}
		if n := s.held(); n != watchesAtOnce {
			t.Errorf("%d places are held", n)
		}
	})
}

// TestBlockedWatcherMakesWayAtOnce: the newcomer need not wait for a write to one
// who takes nothing.
func TestBlockedWatcherMakesWayAtOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		written := make(chan error, 1)
		var deadline time.Time
		p := &watchPlaces{}
		for range watchesAtOnce {
			if mine, _ := p.take(t.Context(), watcher{func(at time.Time) error { deadline = at; return nil }, reads}); mine == nil {
				t.Fatal("no place")
			}
		}
		first := p.held[0]
		time.Sleep(watchKeeps)
		for _, w := range p.held {
			if !w.stays() {
				t.Fatal("made way before anybody asked")
			}
		}
		go func() {
			_, again := p.take(t.Context(), watcher{func(time.Time) error { return errors.New("gone") }, reads})
			if again != 0 {
				written <- errors.New("refused")
				return
			}
			written <- nil
		}()
		synctest.Wait()
		if !deadline.Equal(time.Now()) {
			t.Errorf("his write may take until %s, now is %s", deadline, time.Now())
		}
		if first.stays() {
			t.Error("he has his time again")
		}
		p.free(first)
		if err := <-written; err != nil {
			t.Error(err)
		}
	})
}

// reads is a reader's kernel that has taken all.
func reads() int { return 0 }

// TestStalledWatcherMakesWayFirst: one whose kernel takes no more makes way before who
// came earlier and reads, and the one of these who has stalled for the longest; a moment's
// rest is no stall, and one who takes again has his place as before.
func TestStalledWatcherMakesWayFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := &watchPlaces{}
		left := make([]int, watchesAtOnce)
		var all []*watchPlace
		for i := range watchesAtOnce {
			mine, _ := p.take(t.Context(), watcher{func(time.Time) error { return nil }, func() int { return left[i] }})
			all = append(all, mine)
		}
		look := func(long time.Duration) {
			for range long / watchEvery {
				time.Sleep(watchEvery)
				for _, w := range all {
					w.stays()
				}
			}
		}
		next := func() int {
			_, first, again := p.find(watcher{})
			if (first == nil) != (again > 0) {
				t.Fatalf("%v makes way, and one is to ask again in %s", first, again)
			}
			return slices.Index(all, first)
		}
		left[7] = 1
		look(watchStalls - watchEvery)
		if got := next(); got != -1 {
			t.Errorf("%d makes way before he has stalled", got)
		}
		left[3], left[9] = 1, 1
		look(watchEvery)
		if got := next(); got != 7 {
			t.Errorf("%d makes way, not the one who takes no more", got)
		}
		look(watchStalls)
		if got := next(); got != 7 {
			t.Errorf("%d makes way, not the one who has stalled for the longest", got)
		}
		left[7] = 0
		look(watchEvery)
		if got := next(); got != 3 {
			t.Errorf("%d makes way, not the one who stalls yet", got)
		}
		left[3], left[9] = 0, 0
		look(watchKeeps)
		if got := next(); got != 0 {
			t.Errorf("%d makes way, not the one who came first", got)
		}
	})
}
