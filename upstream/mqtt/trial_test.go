package mqtt

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// looked makes an uplink look at its files, and returns when it has.
func looked(t *testing.T, u *Uplink) {
	t.Helper()
	c := u.live.Load()
	for range 2 { // the second is taken when the first look is over
		u.Refresh()
		await(t, "it looks", func() bool { return len(c.refresh) == 0 || c.reason() != nil })
	}
}

// A certificate that the cloud does not take costs one connection of two; the other
// follows when the first was let in with a good one.
func TestABadCertificateCostsOneConnection(t *testing.T) {
	ca, stranger := peers.CA(t), peers.CA(t)
	b := peers.Mosquitto(t, peers.MosquittoOptions{TLS: true, CA: ca})
	year := peers.Validity{NotAfter: time.Now().AddDate(1, 0, 0)}
	pair, bad, good := ca.Client("old", year), stranger.Client("stranger", year), ca.Client("good", year)
	o := quick("")
	o.Endpoint = "mqtts://" + b.TLSAddr
	o.TLS = TLSOptions{CA: ca.File, Cert: pair.CertFile, Key: pair.KeyFile}
	replace := func(by *peers.Cert) {
		t.Helper()
		if err := errors.Join(os.Rename(by.CertFile, pair.CertFile), os.Rename(by.KeyFile, pair.KeyFile)); err != nil {
			t.Fatal(err)
		}
	}
	gate := upstream.NewGate()
	refused := make(chan string, 100)
	open := func(id string) (*Uplink, *link) {
		u := NewUplink(o, id, discard(), upstream.Hooks{Raise: func(w bridge.Warning) {
			if w.Code == "uplink-refused" {
				refused <- w.Text
			}
		}})
		u.Share(upstream.Shared{Gate: gate})
		l, err := u.Connect(t.Context())
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = l.Close(); <-l.Done() })
		return u, l.(*link)
	}
	first, l1 := open("gateway")
	second, l2 := open("gateway-2")

	replace(bad)
	looked(t, first)
	receive(t, l1.Done(), "the first is renewed")
	again := make(chan *link)
	go func() {
		l, err := first.Connect(t.Context())
		if err != nil {
			t.Error(err)
			close(again)
			return
		}
		again <- l.(*link)
	}()
	receive(t, refused, "the first is refused")
	looked(t, second)
	select {
	case <-l2.left:
		t.Fatalf("the second leaves too: %v", l2.why)
	default:
	}
	if o := send(t, eager{l2}, delivery("dt/x", []byte("m"))); o.Result != bridge.ResultAcked {
		t.Fatalf("by the second: %+v", o)
	}

	replace(good)
	l1 = receive(t, again, "the first is let in")
	t.Cleanup(func() { _ = l1.Close(); <-l1.Done() })
	looked(t, second)
	receive(t, l2.Done(), "the second follows")
	if !errors.Is(l2.Err(), ErrRenewed) {
		t.Errorf("it ended by %v", l2.Err())
	}
}

// Who is refused with a certificate outside of its dates is told so.
func TestARefusalTellsTheDatesOfTheCertificate(t *testing.T) {
	ca := peers.CA(t)
	b := peers.Mosquitto(t, peers.MosquittoOptions{TLS: true, CA: ca})
	for want, v := range map[string]peers.Validity{
		"ended at 2025-01-01T00:00:00Z":            {NotBefore: time.Date(2024, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2025, 1, 1, 0, 0, 0, 0, time.UTC)},
		"is not valid before 2100-01-01T00:00:00Z": {NotBefore: time.Date(2100, 1, 1, 0, 0, 0, 0, time.UTC), NotAfter: time.Date(2101, 1, 1, 0, 0, 0, 0, time.UTC)},
	} {
		cert := ca.Client("gateway", v)
		o := quick("")
		o.Endpoint = "mqtts://" + b.TLSAddr
		o.TLS = TLSOptions{CA: ca.File, Cert: cert.CertFile, Key: cert.KeyFile}
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		err := Check(ctx, o, "gateway", nil)
		cancel()
		if e, ok := errors.AsType[*RefusedError](err); !ok || !strings.Contains(e.Remedy, want) || !strings.Contains(e.Remedy, cert.CertFile) {
			t.Errorf("%v, want %q", err, want)
		}
	}
}

// A file of authorities that cannot be used is told of while the link is up, and so
// that it can be used again.
func TestABadFileOfAuthoritiesIsToldOf(t *testing.T) {
	ca := peers.CA(t)
	cert := ca.Client("gateway", peers.Validity{})
	o := TLSOptions{CA: ca.File, Cert: cert.CertFile, Key: cert.KeyFile}
	good, err := os.ReadFile(ca.File)
	if err != nil {
		t.Fatal(err)
	}
	now := time.Now()
	l := newLease(now, time.Time{}, o.Files())
	for _, c := range []struct{ text, told string }{
		{string(good), ""}, {"garbage", "tls.ca has changed and cannot be used"}, {string(good), ""}, {string(good) + string(good), ""},
	} {
		if err := os.WriteFile(ca.File, []byte(c.text), 0o600); err != nil {
			t.Fatal(err)
		}
		if why := l.over(now); why != nil || (l.told == "") != (c.told == "") || !strings.Contains(l.told, c.told) {
			t.Errorf("%.10q: renewed for %v, told %q, want %q", c.text, why, l.told, c.told)
		}
	}
}
