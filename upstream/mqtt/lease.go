package mqtt

import (
	"crypto/tls"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"time"
)

// ErrRenewed is why a link ended in whose place another one is made. What was in
// flight had been acknowledged before.
var ErrRenewed = errors.New("ended to be renewed")

// ErrIdle is why a link ended that had nothing to send. The next message opens
// another.
var ErrIdle = errors.New("nothing to send")

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
	files []stamp // of tls, as they were when they were read
	told  string  // what is wrong with the new files
}

// newLease is for a connection that must not live beyond ends, zero for never.
// It is renewed after 80 to 95 % of its time: early enough for several attempts,
// and not with the rest of a fleet that was started together.
func newLease(now, ends time.Time, o TLSOptions, files []stamp) lease {
	l := lease{tls: o, files: files}
	if life := ends.Sub(now); !ends.IsZero() && life > 0 {
		l.renew = now.Add(life*80/100 + rand.N(life*15/100+1))
	}
	return l
}

// over says why the connection is to be renewed, nil while it is not.
func (l *lease) over(now time.Time) error {
	if !l.renew.IsZero() && !now.Before(l.renew) {
		return fmt.Errorf("%w: what it was opened with ends soon", ErrRenewed)
	}
	if current := stampsOf(l.tls); !sameStamps(current, l.files) {
		// Two files are not replaced in one moment: the link lives on with what
		// it has until they fit.
		if _, err := tls.LoadX509KeyPair(l.tls.Cert, l.tls.Key); err != nil {
			l.told = err.Error()
			return nil
		}
		l.told = ""
		return fmt.Errorf("%w: there is a new client certificate", ErrRenewed)
	}
	l.told = ""
	return nil
}

// stamp tells one content of a file from another.
type stamp struct {
	size     int64
	modified time.Time
}

// stampsOf are the stamps of the client certificate's files; one that cannot be
// looked at has none.
func stampsOf(o TLSOptions) []stamp {
	if o.Cert == "" {
		return nil
	}
	out := make([]stamp, 2)
	for i, path := range []string{o.Cert, o.Key} {
		if info, err := os.Stat(path); err == nil {
			out[i] = stamp{info.Size(), info.ModTime()}
		}
	}
	return out
}

func sameStamps(a, b []stamp) bool {
	if len(a) != len(b) {
		return false
	}
	for i := range a {
		if a[i].size != b[i].size || !a[i].modified.Equal(b[i].modified) {
			return false
		}
	}
	return true
}
