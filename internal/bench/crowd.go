package main

import (
	"bufio"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"time"

	"golang.org/x/sync/errgroup"
)

// The bounds of a crowd on the LAN. A megabyte is 1,000,000 bytes.
const (
	idlePlain     = 10_000
	idlePlainAnon = 250 // MB
	idleTLS       = 1_000
	idleTLSAnon   = 120 // MB
	idleWebAnon   = 120 // MB, of as many HTTPS connections
	slowRatio     = 0.95
	openSockets   = 1_000
	connectTime   = 100 // ms
	joins         = 50  // CONNECTs that are timed in a run
)

// crowdConfig is a gateway whose devices may do everything, over TCP, and over
// TLS and HTTPS with a certificate of the bench's authority.
const crowdConfig = `gateway: {id: bench}
spool: {dir: data}
policy: {things: "", policies: policies}
listeners:
  - {name: lan, type: tcp, address: %q, profile: aws-edge, auth: anonymous, policies: [devices], limits: {connections: 20000, connect_timeout: 60s}}
  - {name: tls, type: tls, address: %q, profile: aws-edge, auth: certificate, policies: [devices], limits: {connect_timeout: 60s},
     tls: &tls {cert: %q, key: %q, client_ca: %q, client_auth: chain}}
  - {name: web, type: https, address: %q, profile: aws-edge, auth: certificate, policies: [devices], limits: {connect_timeout: 60s}, tls: *tls}
admin: {address: %q}
`

const crowdPolicy = `{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iot:*", "Resource": "*"}]}`

// crowd is a gateway with three listeners.
type crowd struct {
	*gateway
	tlsAddr, webAddr string
	config           *tls.Config // of a device
}

func (b *bench) openCrowd(ctx context.Context) (*crowd, error) {
	home, err := os.MkdirTemp(b.work, "crowd-")
	if err != nil {
		return nil, err
	}
	addrs, err := freeAddrs(4)
	if err != nil {
		return nil, err
	}
	keys, err := writeKeys(home)
	if err != nil {
		return nil, err
	}
	c := &crowd{gateway: &gateway{addr: addrs[0], admin: addrs[2], data: filepath.Join(home, "data")}, tlsAddr: addrs[1], webAddr: addrs[3], config: keys.device}
	file := filepath.Join(home, "ebbgate.yaml")
	c.child = &child{name: "ebbgate", dir: home, argv: []string{b.ebbgate, "run", "--config", file}}
	text := fmt.Sprintf(crowdConfig, c.addr, c.tlsAddr, keys.cert, keys.key, keys.ca, c.webAddr, c.admin)
	if err := errors.Join(
		os.WriteFile(file, []byte(text), 0o600),
		os.Mkdir(filepath.Join(home, "policies"), 0o700),
		os.WriteFile(filepath.Join(home, "policies", "devices.json"), []byte(crowdPolicy), 0o600),
		c.start(ctx),
	); err != nil {
		return nil, err
	}
	if err := c.ready(ctx, c.addr); err != nil {
		c.kill()
		return nil, err
	}
	return c, nil
}

// measureCrowd is what many devices, and bad ones, cost the others.
func (b *bench) measureCrowd(ctx context.Context) error {
	plain := b.report.add(figure{Item: "4", What: fmt.Sprintf("RssAnon with %s idle connections", number(idlePlain)), Unit: "MB", Bound: bound{valueAtMost, idlePlainAnon}})
	secure := b.report.add(figure{Item: "4", What: fmt.Sprintf("RssAnon with %s idle TLS connections", number(idleTLS)), Unit: "MB", Bound: bound{valueAtMost, idleTLSAnon}})
	web := b.report.add(figure{Item: "4", What: fmt.Sprintf("RssAnon with %s idle HTTPS connections", number(idleTLS)), Unit: "MB", Bound: bound{valueAtMost, idleWebAnon}})
	fast := b.report.add(figure{Item: "4", What: fmt.Sprintf("%d fast subscribers beside one that does not read", manyDevices), Unit: "/s", With: "without it", Bound: bound{ratioAtLeast, slowRatio}})
	join := b.report.add(figure{Item: "4", What: fmt.Sprintf("CONNECT beside %s half-open and slow-drip sockets, slowest", number(openSockets)), Unit: "ms", With: "without them", Bound: bound{valueAtMost, connectTime}})
	b.note("4: connections that have said CONNECT and nothing else; TLS ones with a client certificate each; HTTPS ones have had an answer. Half of the bad sockets say nothing, half a byte of their CONNECT now and then.")
	return b.eachRun(ctx, partCrowd, func(run string) error {
		for _, k := range []struct {
			n    int
			join joining
			f    *figure
		}{{idlePlain, (*crowd).join, plain}, {idleTLS, (*crowd).joinTLS, secure}, {idleTLS, (*crowd).ask, web}} {
			mb, err := b.idleMemory(ctx, k.n, k.join)
			if err != nil {
				return err
			}
			k.f.Ours = append(k.f.Ours, mb)
			b.say("%s: %s: %s MB", run, k.f.What, number(mb))
		}
		alone, beside, err := b.slowConsumer(ctx)
		if err != nil {
			return err
		}
		fast.Ours, fast.Peer = append(fast.Ours, beside), append(fast.Peer, alone)
		b.say("%s: %s/s beside a slow consumer, %s/s without", run, number(beside), number(alone))
		before, slowest, err := b.halfOpen(ctx)
		if err != nil {
			return err
		}
		join.Ours, join.Peer = append(join.Ours, slowest), append(join.Peer, before)
		b.say("%s: CONNECT takes %s ms at most beside bad sockets, %s ms without", run, number(slowest), number(before))
		return nil
	})
}

// joining opens a connection of a device.
type joining func(c *crowd, ctx context.Context, clientID string) (net.Conn, error)

// idleMemory is the RssAnon of a gateway with n devices that only connected.
func (b *bench) idleMemory(ctx context.Context, n int, join joining) (float64, error) {
	c, err := b.openCrowd(ctx)
	if err != nil {
		return 0, err
	}
	defer c.close()
	conns := make([]net.Conn, n)
	defer func() {
		for _, conn := range conns {
			if conn != nil {
				_ = conn.Close()
			}
		}
	}()
	g, joining := errgroup.WithContext(ctx)
	g.SetLimit(64)
	for i := range conns {
		g.Go(func() (err error) {
			conns[i], err = join(c, joining, fmt.Sprintf("idle-%05d", i))
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return 0, c.failed(err)
	}
	if err := pause(ctx, idleTime); err != nil {
		return 0, err
	}
	m, err := readMemory(c.pid())
	return float64(m.Anon) / megabyte, err
}

// join opens an MQTT session.
func (c *crowd) join(ctx context.Context, clientID string) (net.Conn, error) {
	return connect(ctx, c.addr, clientID)
}

// joinTLS is join over TLS.
func (c *crowd) joinTLS(ctx context.Context, clientID string) (net.Conn, error) {
	d := tls.Dialer{Config: c.config}
	conn, err := d.DialContext(ctx, "tcp", c.tlsAddr)
	if err != nil {
		return nil, err
	}
	if err := login(conn, clientID); err != nil {
		return nil, errors.Join(fmt.Errorf("%s: %w", clientID, err), conn.Close())
	}
	return conn, nil
}

// ask opens an HTTPS connection and has one request answered.
func (c *crowd) ask(ctx context.Context, _ string) (net.Conn, error) {
	d := tls.Dialer{Config: c.config}
	conn, err := d.DialContext(ctx, "tcp", c.webAddr)
	if err != nil {
		return nil, err
	}
	err = func() error {
		if _, err := io.WriteString(conn, "GET /retainedMessage HTTP/1.1\r\nHost: bench\r\n\r\n"); err != nil {
			return err
		}
		answer, err := http.ReadResponse(bufio.NewReader(conn), nil)
		if err != nil {
			return err
		}
		defer answer.Body.Close()
		if answer.StatusCode != http.StatusOK {
			return fmt.Errorf("the gateway answers %s", answer.Status)
		}
		_, err = io.Copy(io.Discard, answer.Body)
		return err
	}()
	if err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	return conn, nil
}

// slowConsumer is what 50 publishers reach whose messages 50 subscribers read,
// without and beside one who subscribes to all of it and reads nothing.
func (b *bench) slowConsumer(ctx context.Context) (alone, beside float64, err error) {
	c, err := b.openCrowd(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer c.close()
	readers, stop, err := c.readers(ctx)
	if err != nil {
		return 0, 0, c.failed(err)
	}
	defer stop()
	f, err := newFleet(ctx, c.addr, manyDevices)
	if err != nil {
		return 0, 0, c.failed(err)
	}
	defer f.close()
	const turns = 6
	var without, with []float64
	for i := range turns {
		var lazy net.Conn
		if i%2 == 1 {
			if lazy, err = connect(ctx, c.addr, "lazy"); err == nil {
				_, err = lazy.Write(subscribeQoS1Frame("dt/#"))
			}
			if err == nil {
				err = readAnswerCode(lazy, packetSubAck, 3, 1)
			}
			if err != nil {
				return 0, 0, c.failed(err)
			}
		}
		from, at := readers.arrived.Load(), time.Now()
		_, err := f.rate(ctx, b.Intake/2, func() { from, at = readers.arrived.Load(), time.Now() }, func() {
			rate := float64(readers.arrived.Load()-from) / time.Since(at).Seconds()
			if lazy != nil {
				with = append(with, rate)
			} else {
				without = append(without, rate)
			}
		})
		if lazy != nil {
			_ = lazy.Close()
		}
		if err != nil {
			return 0, 0, c.failed(err)
		}
	}
	return median(without), median(with), nil
}

// halfOpen is how long a CONNECT takes at most, in ms, without and beside
// sockets that never say theirs.
func (b *bench) halfOpen(ctx context.Context) (before, slowest float64, err error) {
	c, err := b.openCrowd(ctx)
	if err != nil {
		return 0, 0, err
	}
	defer c.close()
	if before, err = c.slowestJoin(ctx); err != nil {
		return 0, 0, err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	var d net.Dialer
	for i := range openSockets {
		conn, err := d.DialContext(ctx, "tcp", c.addr)
		if err != nil {
			return 0, 0, c.failed(err)
		}
		defer conn.Close()
		if i%2 == 1 {
			go drip(ctx, conn)
		}
	}
	slowest, err = c.slowestJoin(ctx)
	return before, slowest, err
}

// drip sends a CONNECT byte by byte.
func drip(ctx context.Context, conn net.Conn) {
	for _, x := range connectFrame("a-client-that-takes-all-the-time-of-the-world") {
		if _, err := conn.Write([]byte{x}); err != nil || pause(ctx, 200*time.Millisecond) != nil {
			return
		}
	}
}

// slowestJoin connects some clients, one after the other.
func (c *crowd) slowestJoin(ctx context.Context) (float64, error) {
	var all []float64
	for i := range joins {
		at := time.Now()
		conn, err := connect(ctx, c.addr, fmt.Sprintf("join-%d", i))
		if err != nil {
			return 0, c.failed(err)
		}
		all = append(all, float64(time.Since(at))/float64(time.Millisecond))
		if err := conn.Close(); err != nil {
			return 0, err
		}
	}
	return slices.Max(all), nil
}
