package scenario

import (
	"bytes"
	"io"
	"net"
	"sync"
	"testing"
)

// trap is a link on which a client's word is held: from then on nothing of that
// connection goes either way, until it ends.
type trap struct {
	addr string

	mu    sync.Mutex
	word  string // empty: nothing is held
	heard bool   // the other end shall still hear it
	held  chan struct{}
	freed chan struct{}
}

func newTrap(t *testing.T, target string) *trap {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &trap{addr: l.Addr().String(), freed: make(chan struct{})}
	var running sync.WaitGroup
	t.Cleanup(func() {
		_ = l.Close() // nothing is written to it
		p.free()
		running.Wait()
	})
	running.Go(func() {
		for {
			in, err := l.Accept()
			if err != nil {
				return
			}
			out, err := net.Dial("tcp", target)
			if err != nil {
				_ = in.Close() // the client comes again
				continue
			}
			var dead sync.Once
			end := func() { dead.Do(func() { _, _ = in.Close(), out.Close() }) }
			stuck := make(chan struct{})
			running.Go(func() { defer end(); p.forth(out, in, stuck) })
			running.Go(func() { defer end(); p.back(in, out, stuck) })
		}
	})
	return p
}

// holdAt has the next packet with a word in it held, before the other end hears it or
// before its answer is, and tells when it is.
func (p *trap) holdAt(word string, heard bool) (held <-chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.word, p.heard, p.held = word, heard, make(chan struct{})
	return p.held
}

// free ends the connection that is held.
func (p *trap) free() {
	p.mu.Lock()
	defer p.mu.Unlock()
	close(p.freed)
	p.freed = make(chan struct{})
}

// caught reports whether these bytes are the ones to hold.
func (p *trap) caught(b []byte) (caught, heard bool, held, freed chan struct{}) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.word == "" || !bytes.Contains(b, []byte(p.word)) {
		return false, false, nil, nil
	}
	p.word = ""
	return true, p.heard, p.held, p.freed
}

// forth carries what the client says. A word that is split between two reads is
// found with the one before.
func (p *trap) forth(to io.Writer, from io.Reader, stuck chan<- struct{}) {
	buf, before := make([]byte, 64<<10), []byte(nil)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		caught, heard, held, freed := p.caught(append(before, buf[:n]...))
		if caught {
			close(stuck)
			if !heard {
				close(held)
				<-freed
				return
			}
		}
		if _, err := to.Write(buf[:n]); err != nil && !caught {
			return
		}
		if caught {
			close(held)
			<-freed
			return
		}
		before = append(before[:0], buf[max(0, n-8):n]...)
	}
}

// back carries what is answered, until something is held.
func (p *trap) back(to io.Writer, from io.Reader, stuck <-chan struct{}) {
	buf := make([]byte, 64<<10)
	for {
		n, err := from.Read(buf)
		if err != nil {
			return
		}
		select {
		case <-stuck:
			continue // it is not heard
		default:
		}
		if _, err := to.Write(buf[:n]); err != nil {
			return
		}
	}
}
