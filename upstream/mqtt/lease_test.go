package mqtt

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/eclipse/paho.golang/packets"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/internal/peers"
	"github.com/ebbgate/ebbgate/upstream"
)

// Q42: a WebSocket of AWS lives a day; the credentials may end before. Renewals
// of a fleet that was started together do not meet.
func TestQ42_LeasesEndBeforeTheirTime(t *testing.T) {
	now := time.Date(2026, 11, 21, 0, 0, 0, 0, time.UTC)
	for _, life := range []time.Duration{time.Minute, time.Hour, 24 * time.Hour} {
		seen := map[time.Time]bool{}
		for range 100 {
			l := newLease(now, now.Add(life), upstream.CertFiles{})
			if after := l.renew.Sub(now); after < life*80/100 || after > life*95/100 {
				t.Fatalf("a life of %v is renewed after %v", life, after)
			}
			seen[l.renew] = true
			if l.over(l.renew.Add(-1)) != nil || !errors.Is(l.over(l.renew), ErrRenewed) {
				t.Fatal("it is not over when it is")
			}
		}
		if len(seen) < 50 {
			t.Errorf("only %d different times of 100", len(seen))
		}
	}
	for name, ends := range map[string]time.Time{"never": {}, "already ended": now.Add(-time.Hour)} {
		l := newLease(now, ends, upstream.CertFiles{})
		if why := l.over(now.Add(1000 * time.Hour)); why != nil {
			t.Errorf("%s: renewed: %v", name, why)
		}
	}
}

// A link that is renewed has everything acknowledged first, and the next one is
// made at once: nothing is lost and nothing sent twice.
func TestARenewedLinkIsDrainedFirst(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var warned atomic.Int32
		u := NewUplink(unhurried(), "gateway", discard(), upstream.Hooks{Raise: func(bridge.Warning) { warned.Add(1) }})
		cloud := hold(t, &u.dialer)
		ctx, cancel := context.WithCancel(t.Context())
		defer cancel()
		first, err := u.Connect(ctx)
		if err != nil {
			t.Fatal(err)
		}
		outcome := cloud.give(t, first)
		l := first.(*link)
		<-time.After(upstream.StableAfter) // virtual
		l.retire(ErrRenewed)
		l.retire(ErrRenewed)
		blocked := make(chan error, 1)
		go func() {
			blocked <- first.Send(ctx, delivery("a", nil), func(bridge.Outcome) { t.Error("sent on a link that is being renewed") })
		}()
		synctest.Wait()
		if first.Err() != nil {
			t.Fatalf("it ended with a message in flight: %v", first.Err())
		}
		cloud.acknowledged(t, first, outcome)
		if err := <-blocked; !errors.Is(err, ErrRenewed) {
			t.Errorf("the send that came too late: %v", err)
		}
		began := time.Now()
		second, err := u.Connect(ctx)
		if err != nil {
			t.Fatal(err)
		}
		if d := time.Since(began); d != 0 {
			t.Errorf("the next link was made after %v, want at once", d)
		}
		if n := warned.Load(); n != 0 {
			t.Errorf("%d warnings", n)
		}
		_ = second.Close()
		<-second.Done()
		if !cloud.leftPolitely() {
			t.Errorf("the link's last word was packet type %d", cloud.last.Load())
		}
	})
}

// A new certificate is taken up by itself; one that does not fit its key yet is
// waited for.
func TestANewCertificateRenewsTheLink(t *testing.T) {
	ca := peers.CA(t)
	old, next := ca.Client("old", peers.Validity{}), ca.Client("next", peers.Validity{})
	o := TLSOptions{Cert: old.CertFile, Key: old.KeyFile}
	now := time.Now()
	l := newLease(now, time.Time{}, o.Files())
	replace := func(path, by string) {
		t.Helper()
		text, err := os.ReadFile(by)
		if err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(path, text, 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Chtimes(path, now, now.Add(time.Minute)); err != nil {
			t.Fatal(err)
		}
	}
	if why := l.over(now); why != nil {
		t.Fatalf("renewed without a cause: %v", why)
	}
	replace(old.CertFile, next.CertFile)
	if why := l.over(now); why != nil || l.told == "" {
		t.Errorf("half a pair: %v, told %q", why, l.told)
	}
	replace(old.KeyFile, next.KeyFile)
	if why := l.over(now); !errors.Is(why, ErrRenewed) || l.told != "" {
		t.Errorf("a new pair: %v, told %q", why, l.told)
	}
	for _, v := range []struct {
		peers.Validity
		told string
	}{
		{peers.Validity{NotBefore: now.Add(-2 * time.Hour), NotAfter: now.Add(-time.Hour)}, "ended at"},
		{peers.Validity{NotBefore: now.Add(time.Hour), NotAfter: now.Add(2 * time.Hour)}, "is not valid before"},
	} {
		dated := ca.Client("dated", v.Validity)
		replace(old.CertFile, dated.CertFile)
		replace(old.KeyFile, dated.KeyFile)
		if why := l.over(now); why != nil || !strings.Contains(l.told, v.told) {
			t.Errorf("a pair that %s: %v, told %q", v.told, why, l.told)
		}
		if why := l.over(now.Add(90 * time.Minute)); (why != nil) != (v.told == "is not valid before") {
			t.Errorf("an hour and a half later: %v, told %q", why, l.told)
		}
	}
	if err := os.Remove(old.CertFile); err != nil {
		t.Fatal(err)
	}
	if why := l.over(now); why != nil || l.told == "" {
		t.Errorf("no certificate: %v, told %q", why, l.told)
	}
}

// A certificate that ends is told of in time.
func TestACertificateThatEndsIsWarnedOf(t *testing.T) {
	for _, c := range []struct {
		name     string
		left     time.Duration
		severity bridge.Severity
		want     bool
	}{{"in a year", 365 * 24 * time.Hour, 0, false}, {"in a week", 7 * 24 * time.Hour, bridge.Degraded, true}} {
		t.Run(c.name, func(t *testing.T) {
			ca := peers.CA(t)
			b := peers.Mosquitto(t, peers.MosquittoOptions{TLS: true, CA: ca})
			cert := ca.Client("gateway", peers.Validity{NotAfter: time.Now().Add(c.left)})
			o := quick("")
			o.Endpoint = "mqtts://" + b.TLSAddr
			o.TLS = TLSOptions{CA: ca.File, Cert: cert.CertFile, Key: cert.KeyFile}
			var health bridge.Health
			told := make(chan struct{}, 10)
			connect(t, o, upstream.Hooks{
				Raise: func(w bridge.Warning) { health.Raise(w); told <- struct{}{} },
				Clear: func(code string) {
					health.Clear(code)
					if code == "uplink-certificate" {
						told <- struct{}{}
					}
				},
			})
			receive(t, told, "it is looked at")
			if w := health.Warnings(); len(w) > 0 != c.want || c.want && (w[0].Code != "uplink-certificate" || w[0].Severity != c.severity) {
				t.Errorf("warnings %v", w)
			}
		})
	}
}

// The downlink leaves once nothing is owed, and takes what came meanwhile.
func TestTheDownlinkIsRenewedWhenNothingIsOwed(t *testing.T) {
	ours, theirs := net.Pipe()
	read := make(chan struct{})
	go func() { defer close(read); _, _ = io.Copy(io.Discard, theirs) }()
	raw := newSocket(ours)
	c := newConn(raw, raw, upstream.NewBucket(upstream.Limits{}), discard())
	r := &receiver{c: c}
	entry, err := r.owe(1)
	if err != nil {
		t.Fatal(err)
	}
	r.retire(ErrRenewed)
	if c.reason() != nil {
		t.Fatal("it left while an acknowledgement was owed")
	}
	r.ack(entry)
	if !errors.Is(c.reason(), ErrRenewed) {
		t.Errorf("ended by %v", c.reason())
	}
	_ = c.raw.Close()
	_ = theirs.Close()
	<-read
}

// A new certificate in the place of the old is what the next link logs in with,
// and everything that was sent is acknowledged.
func TestRotationLosesNothing(t *testing.T) {
	t.Parallel()
	ca := peers.CA(t)
	cert := ca.Server("broker").TLS
	logins := make(chan string, 10)
	s := serve(t, func(b *broker) {
		secure := tls.Server(b.Conn, &tls.Config{Certificates: []tls.Certificate{cert}, ClientAuth: tls.RequireAndVerifyClientCert, ClientCAs: ca.Pool})
		if err := secure.Handshake(); err != nil {
			t.Errorf("the broker's handshake: %v", err)
			return
		}
		logins <- secure.ConnectionState().PeerCertificates[0].Subject.CommonName
		theirs := &broker{secure, t}
		theirs.accept(packets.Properties{})
		theirs.answer(0, "")
	})
	year := peers.Validity{NotAfter: time.Now().AddDate(1, 0, 0)} // nobody is warned
	old, next := ca.Client("old-one", year), ca.Client("next-one", year)
	o := quick("")
	o.Endpoint = "mqtts://" + s.addr
	o.TLS = TLSOptions{CA: ca.File, Cert: old.CertFile, Key: old.KeyFile}
	var warned atomic.Int32
	u := NewUplink(o, "gateway", discard(), upstream.Hooks{Raise: func(bridge.Warning) { warned.Add(1) }})
	l, err := u.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range [][2]string{{next.CertFile, old.CertFile}, {next.KeyFile, old.KeyFile}} {
		was, err := os.Stat(f[1])
		if err == nil {
			err = errors.Join(os.Rename(f[0], f[1]), os.Chtimes(f[1], was.ModTime(), was.ModTime())) // the content is what counts
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	sent := int64(0)
	var acked, others atomic.Int64
	report := func(o bridge.Outcome) {
		if o.Result == bridge.ResultAcked {
			acked.Add(1)
		} else {
			others.Add(1)
		}
	}
	tick := time.NewTicker(time.Millisecond) // it takes a while until the files are looked at
	defer tick.Stop()
	for ; l.Err() == nil; <-tick.C {
		if err := l.Send(t.Context(), delivery("dt/x", []byte("m")), report); err != nil {
			break
		}
		l.Flush()
		sent++
	}
	receive(t, l.Done(), "the link goes down")
	if !errors.Is(l.Err(), ErrRenewed) {
		t.Fatalf("it ended by %v", l.Err())
	}
	if acked.Load() != sent || others.Load() != 0 {
		t.Errorf("%d sent, %d acknowledged, %d with another outcome", sent, acked.Load(), others.Load())
	}
	again, err := u.Connect(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	_ = again.Close()
	receive(t, again.Done(), "the link goes down")
	if first, second := <-logins, <-logins; first != "old-one" || second != "next-one" {
		t.Errorf("logged in as %s, then as %s", first, second)
	}
	if n := warned.Load(); n != 0 {
		t.Errorf("%d warnings", n)
	}
}
