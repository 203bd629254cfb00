package mqtt

import (
	"crypto/sha256"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"
	"time"

	"github.com/ebbgate/ebbgate/upstream"
)

// ErrRenewed is why a link ended in whose place another one is made. What was in
// flight had been acknowledged before.
var ErrRenewed = errors.New("ended to be renewed")

// ErrIdle is why a link ended that had nothing to send. The next message opens
// another.
var ErrIdle = errors.New("nothing to send")

// ending is how a link has ended, by its reason.
func ending(err error) upstream.Ending {
	switch {
	case errors.Is(err, ErrRenewed), errors.Is(err, ErrIdle):
		return upstream.Renewed
	case errors.Is(err, ErrClosed):
		return upstream.Closed
	}
	return upstream.Broke
}

// webSocketLife is how long AWS IoT Core lets a WebSocket live (Q42).
const webSocketLife = 24 * time.Hour

// leaseCheck is how often a connection looks whether it has to be renewed, and
// so how soon a new certificate is taken up.
const leaseCheck = 10 * time.Second

// lease says how long a connection may live: until something that it was opened
// with ends, or its certificate's files are others.
type lease struct {
	renew time.Time // zero: never
	tls   TLSOptions
	files stamps // of tls, as they were when they were read
	ca    stamp  // of tls.ca, as it was when it was last good
	told  string // what is wrong with the new files

	gate *upstream.Gate // is asked who tries a new certificate first
	who  any            // asks
}

// newLease is for a connection that must not live beyond ends, zero for never.
// It is renewed after 80 to 95 % of its time: early enough for several attempts,
// and not with the rest of a fleet that was started together.
func newLease(now, ends time.Time, o TLSOptions, files stamps) lease {
	l := lease{tls: o, files: files}
	if life := ends.Sub(now); !ends.IsZero() && life > 0 {
		l.renew = now.Add(life*80/100 + rand.N(life*15/100+1))
	}
	return l
}

// refresh makes a connection look at its certificate's files; c may be nil.
func refresh(c *conn) {
	if c == nil {
		return
	}
	select {
	case c.refresh <- struct{}{}:
	default: // it is about to
	}
}

// over says why the connection is to be renewed, nil while it is not.
func (l *lease) over(now time.Time) error {
	if !l.renew.IsZero() && !now.Before(l.renew) {
		return fmt.Errorf("%w: what it was opened with ends soon", ErrRenewed)
	}
	l.told = ""
	if now := stampOf(l.tls.CA); now != l.ca {
		if err := l.tls.CAFits(); err != nil {
			l.told = "the file of tls.ca has changed and cannot be used: " + err.Error()
		} else {
			l.ca = now
		}
	}
	current := stampsOf(l.tls)
	if current == l.files {
		return nil
	}
	// Two files are not replaced in one moment: the link lives on with what
	// it has until they fit.
	if err := l.tls.Fits(now); err != nil {
		l.told = "the files of tls.cert and tls.key have changed and do not fit: " + err.Error()
		return nil
	}
	if l.told != "" || !l.gate.MayTry(l.tls.Cert, upstream.Pair(current), l.who) {
		return nil
	}
	return fmt.Errorf("%w: there is a new client certificate", ErrRenewed)
}

// stamp tells one content of a file from another: its hash, for size and time may be
// the same. Zero is that of a file that cannot be read.
type stamp = [sha256.Size]byte

// maxCertificate bounds what is read of a file.
const maxCertificate = 1 << 20

// stamps are the stamps of the client certificate's files.
type stamps upstream.Pair

func stampsOf(o TLSOptions) stamps { return stamps{Cert: stampOf(o.Cert), Key: stampOf(o.Key)} }

func stampOf(path string) stamp {
	if path == "" {
		return stamp{}
	}
	f, err := os.Open(path)
	if err != nil {
		return stamp{}
	}
	defer f.Close()
	h := sha256.New()
	if _, err := io.Copy(h, io.LimitReader(f, maxCertificate)); err != nil {
		return stamp{}
	}
	return stamp(h.Sum(nil))
}
