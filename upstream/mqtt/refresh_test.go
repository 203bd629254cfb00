package mqtt

import (
	"errors"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// Who is told to look takes a new certificate up at once, and not when the next
// look is due; files that are as they were change nothing.
func TestRefreshTakesANewCertificateUpAtOnce(t *testing.T) {
	year := peers.Validity{NotBefore: time.Date(1999, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Now().AddDate(1, 0, 0)} // from before synctest's clock begins
	old, next := peers.CA(t).Client("old-one", year), peers.CA(t).Client("next-one", year)
	synctest.Test(t, func(t *testing.T) {
		o := unhurried()
		o.TLS = TLSOptions{Cert: old.CertFile, Key: old.KeyFile} // a pipe has no TLS, but the files are looked at
		u := NewUplink(o, "gateway", discard(), upstream.Hooks{})
		u.Refresh() // nothing is there yet
		piped(t, &u.dialer, func(b *broker) {
			b.accept(packets.Properties{})
			b.pong()
		})
		l, err := u.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		u.Refresh()
		synctest.Wait()
		if l.Err() != nil {
			t.Fatalf("renewed for files that are as they were: %v", l.Err())
		}
		for _, f := range [][2]string{{next.CertFile, old.CertFile}, {next.KeyFile, old.KeyFile}} {
			if err := os.Rename(f[0], f[1]); err != nil {
				t.Fatal(err)
			}
		}
		began := time.Now()
		u.Refresh()
		<-l.Done()
		if took := time.Since(began); !errors.Is(l.Err(), ErrRenewed) || took >= time.Second {
			t.Errorf("ended after %v by %v, want at once", took, l.Err())
		}
		u.Refresh() // it is over: nobody listens
	})
}
