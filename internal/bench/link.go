package main

import (
	"context"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/ebbgate/ebbgate/rules/shape"
)

// linkRow is one way of sending readings, against mosquitto's bridge.
type linkRow struct {
	what    string
	route   string // settings of the route
	batched bool
	devices int
	topic   int // bytes of a topic
	bound   bound
	note    string
	figure  *figure
}

// The bounds of U5, and how the bytes are measured. Readings come evenly from a few
// devices, which have a number of their own at every broker, or from many.
const (
	plainBytes   = 0.8
	batchedBytes = 0.4
	fewSensors   = 8
	manySensors  = 40
	shortTopic   = 32 // that of the arithmetic of the bill (G09)
	longTopic    = 64
	quietTime    = 500 * time.Millisecond // without a byte: all has been acknowledged
)

func linkRows() []linkRow {
	const bare, batch = "origin: bare, ", "batch: {format: json, age: 2s}, topic: dt/all, "
	atMost := func(limit float64) bound { return bound{ratioAtMost, limit} }
	return []linkRow{
		{what: "plain, origin: bare", route: bare, devices: fewSensors, topic: shortTopic, bound: atMost(plainBytes)},
		{what: "plain, origin: bare, topics of 64 bytes", route: bare, devices: fewSensors, topic: longTopic, bound: atMost(plainBytes)},
		{what: "plain, origin: bare, 40 topics", route: bare, devices: manySensors, topic: shortTopic, note: "of which the broker takes 10 as numbers"},
		{what: "plain, origin: none", route: "origin: none, ", devices: fewSensors, topic: shortTopic, note: "and the count of gateways"},
		{what: "plain, origin: user_properties", devices: fewSensors, topic: shortTopic, note: "the default: who, when, message id"},
		{what: "batch, gzip, origin: bare", route: bare + batch + "compress: gzip, ", batched: true, devices: fewSensors, topic: shortTopic, bound: atMost(batchedBytes)},
		{what: "batch, zstd, origin: bare", route: bare + batch + "compress: zstd, ", batched: true, devices: fewSensors, topic: shortTopic},
		{what: "batch, gzip, origin: envelope", route: "origin: envelope, " + batch + "compress: gzip, ", batched: true, devices: fewSensors, topic: shortTopic, bound: atMost(batchedBytes), note: "who, when, message id of each"},
		{what: "batch, not compressed, origin: bare", route: bare + batch, batched: true, devices: fewSensors, topic: shortTopic},
	}
}

// measureLink is the third part of U5: bytes on the wire for each reading of 100
// bytes, both directions, against mosquitto's bridge to the same broker.
func (b *bench) measureLink(ctx context.Context) error {
	rows := linkRows()
	for i := range rows {
		r := &rows[i]
		r.figure = b.report.add(figure{Item: "U5", What: "bytes a reading: " + r.what, Unit: "B", With: "mosquitto's bridge", Bound: r.bound, Note: r.note})
	}
	b.note("U5: %s readings of %d bytes of JSON, %d devices in turn, topics of %d bytes unless said; bytes of MQTT in both directions at a proxy before the same broker, without TLS, TCP's and IP's own; batches go to one topic.",
		number(float64(b.Read)), readingSize, fewSensors, shortTopic)
	few := *b // bytes hardly differ from run to run
	few.Runs = min(b.Runs, 3)
	return few.eachRun(ctx, partLink, func(run string) error {
		peers := map[[2]int]float64{}
		for _, r := range rows {
			ours, err := b.link(ctx, r, func(ctx context.Context, cloud string) (*edge, error) {
				return b.routedEdge(ctx, cloud, r.route)
			})
			if err != nil {
				return fmt.Errorf("%s: %w", r.what, err)
			}
			key := [2]int{r.devices, r.topic}
			if _, known := peers[key]; !known {
				r.batched = false
				if peers[key], err = b.link(ctx, r, b.mosquittoEdge); err != nil {
					return err
				}
			}
			r.figure.Ours, r.figure.Peer = append(r.figure.Ours, ours), append(r.figure.Peer, peers[key])
			b.say("%s: %s: %s B, mosquitto %s B", run, r.what, number(ours), number(peers[key]))
		}
		return nil
	})
}

// routedEdge is a gateway whose route has the settings.
func (b *bench) routedEdge(ctx context.Context, cloud, route string) (*edge, error) {
	g, err := openGateway(ctx, b.ebbgate, b.work, gatewayOptions{cloud: cloud, route: route})
	if err != nil {
		return nil, err
	}
	return &edge{g.child, g.addr, g.close}, nil
}

// link sends readings through an edge and returns the bytes on its link to the
// cloud for each, once all have arrived and been acknowledged.
func (b *bench) link(ctx context.Context, r linkRow, open opener) (float64, error) {
	cloud, err := openMosquitto(ctx, b.work, bridged{}, inFlight)
	if err != nil {
		return 0, err
	}
	defer cloud.close()
	p, err := newCountingProxy(ctx, cloud.addr)
	if err != nil {
		return 0, err
	}
	defer p.close()
	e, err := open(ctx, p.addr)
	if err != nil {
		return 0, err
	}
	defer e.close()
	conn, err := connect(ctx, cloud.addr, "counter")
	if err != nil {
		return 0, cloud.failed(err)
	}
	defer conn.Close()
	if _, err := conn.Write(subscribeFrame("dt/#")); err != nil {
		return 0, err
	}
	if err := readAnswer(conn, packetSubAck, 3); err != nil {
		return 0, err
	}
	if err := pause(ctx, linkTime); err != nil {
		return 0, err
	}
	from := p.bytes.Load()
	told := make(chan error, 1)
	go func() { told <- tell(ctx, e.addr, r.devices, r.topic, b.Read) }()
	err = arrive(conn, b.Read, r.batched)
	if err := errors.Join(err, <-told); err != nil {
		return 0, e.failed(err)
	}
	for last := int64(-1); last != p.bytes.Load(); {
		last = p.bytes.Load()
		if err := pause(ctx, quietTime); err != nil {
			return 0, err
		}
	}
	return float64(p.bytes.Load()-from) / float64(b.Read), nil
}

// arrive reads messages until n readings have come, each of them once.
func arrive(conn net.Conn, n int, batched bool) error {
	d := shape.Decoder{Batch: shape.None}
	if batched {
		d.Batch = shape.JSON
	}
	came, count := make([]bool, n), 0
	take := func(one shape.Decoded) error {
		var v struct{ N int }
		if err := json.Unmarshal(one.Payload, &v); err != nil {
			return fmt.Errorf("%.100q is no reading: %w", one.Payload, err)
		}
		i := v.N - firstReading
		if i < 0 || i >= n || came[i] {
			return fmt.Errorf("reading %d came twice, or was never sent", i)
		}
		came[i] = true
		count++
		return nil
	}
	buf := make([]byte, 0, 1<<20)
	for count < n {
		if err := conn.SetReadDeadline(time.Now().Add(stalled)); err != nil {
			return err
		}
		got, err := conn.Read(buf[len(buf):cap(buf)])
		if err != nil {
			return fmt.Errorf("%d of %d readings arrived: %w", count, n, err)
		}
		rest := buf[:len(buf)+got]
		for {
			kind, body, size, err := splitPacket(rest)
			if errors.Is(err, errShort) {
				break
			}
			if err != nil {
				return err
			}
			rest = rest[size:]
			if kind&0xf0 != packetPublish {
				continue
			}
			topic := int(binary.BigEndian.Uint16(body))
			if err := d.Decode(shape.Received{Topic: string(body[2 : 2+topic]), Payload: body[2+topic:]}, take); err != nil {
				return err
			}
		}
		buf = buf[:copy(buf[:cap(buf)], rest)]
	}
	return nil
}
