package main

import (
	"context"
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"time"
)

// What a device sends a file in: the segments of the issue, with as many in
// flight as a client has that does not wait for each.
const (
	fileSegment = 128 << 10
	fileWindow  = 64
)

// film is the content of a file, which does not compress: noise that begins
// anew every filmBlock bytes, so that a gigabyte need not be in memory.
type film struct {
	size  int64
	block []byte
	sum   string // SHA-256, hex
	order []int  // which segment is sent when; nil: one after the other
}

const filmBlock = 8 << 20

func newFilm(size int64, seed uint64) *film {
	f := &film{size: size, block: make([]byte, filmBlock)}
	noise := rand.NewChaCha8([32]byte{byte(seed)})
	_, _ = noise.Read(f.block) // never fails
	h := sha256.New()
	for left := size; left > 0; left -= filmBlock {
		_, _ = h.Write(f.block[:min(left, filmBlock)])
	}
	f.sum = hex.EncodeToString(h.Sum(nil))
	return f
}

// shuffle has the segments sent in an order that is none, the same each time.
func (f *film) shuffle() {
	f.order = rand.New(rand.NewPCG(filesSeed, filesSeed)).Perm(f.segments())
}

// offset is where the segment begins that is sent as number i.
func (f *film) offset(i int) int64 {
	if f.order != nil {
		i = f.order[i]
	}
	return int64(i) * fileSegment
}

// segments is how many it is sent in.
func (f *film) segments() int { return int((f.size + fileSegment - 1) / fileSegment) }

// segment is the one that begins at an offset.
func (f *film) segment(at int64) []byte {
	in := at % filmBlock
	return f.block[in:min(in+fileSegment, in+f.size-at)]
}

// uploader is a device that sends one file.
type uploader struct {
	*film
	conn     net.Conn
	patience time.Duration // for an answer
	ack      [ackSize]byte
}

// finTime is how long a fin may take: a file that did not come in order is read.
const finTime = 5 * time.Minute

func newUploader(ctx context.Context, addr, client string, f *film) (*uploader, error) {
	conn, err := connect(ctx, addr, client)
	if err != nil {
		return nil, err
	}
	return &uploader{film: f, conn: conn, patience: stalled}, nil
}

// upload sends the file by EMQX's protocol, and returns when the broker has said
// that it has it whole.
func (u *uploader) upload(ctx context.Context) error {
	if err := u.command(ctx, "$file/film/init", []byte(`{"name":"film.bin"}`)); err != nil {
		return err
	}
	err := u.stream(ctx, func(at int64) string { return fmt.Sprintf("$file/film/%d", at) })
	if err != nil {
		return err
	}
	u.patience = finTime
	return u.command(ctx, fmt.Sprintf("$file/film/fin/%d/%s", u.size, u.sum), nil)
}

// command publishes and waits for the answer.
func (u *uploader) command(ctx context.Context, topic string, payload []byte) error {
	defer u.until(ctx)()
	if err := u.publish(1, topic, payload); err != nil {
		return err
	}
	return u.await(1)
}

// until ends what waits when ctx does, or when nothing has moved for long.
func (u *uploader) until(ctx context.Context) (stop func() bool) {
	return context.AfterFunc(ctx, func() { _ = u.conn.SetDeadline(time.Now()) })
}

// stream publishes the segments, each under the topic of its offset.
func (u *uploader) stream(ctx context.Context, topic func(at int64) string) error {
	defer u.until(ctx)()
	places, ended := make(chan struct{}, fileWindow), make(chan error, 1)
	go func() {
		for i := range u.segments() {
			if err := u.await(uint16(i%fileWindow) + 1); err != nil {
				_ = u.conn.Close() // who writes shall not wait
				ended <- err
				return
			}
			<-places
		}
		ended <- nil
	}()
	for i := range u.segments() {
		at := u.offset(i)
		select {
		case places <- struct{}{}:
		case err := <-ended:
			return err
		}
		if err := u.publish(uint16(i%fileWindow)+1, topic(at), u.segment(at)); err != nil {
			_ = u.conn.Close() // who reads shall not wait
			return errors.Join(err, <-ended)
		}
	}
	return <-ended
}

func (u *uploader) publish(id uint16, topic string, payload []byte) error {
	head := appendText(appendRemaining([]byte{packetPublish | flagQoS1}, 2+len(topic)+2+len(payload)), topic)
	parts := net.Buffers{binary.BigEndian.AppendUint16(head, id), payload}
	_, err := parts.WriteTo(u.conn)
	return err
}

// await reads the next answer, which is of that packet.
func (u *uploader) await(id uint16) error {
	if err := u.conn.SetReadDeadline(time.Now().Add(u.patience)); err != nil {
		return err
	}
	if _, err := io.ReadFull(u.conn, u.ack[:]); err != nil {
		return fmt.Errorf("awaiting the PUBACK of packet %d: %w", id, err)
	}
	if u.ack[0] != packetPubAck || binary.BigEndian.Uint16(u.ack[2:]) != id {
		return fmt.Errorf("awaiting the PUBACK of packet %d, got %x", id, u.ack)
	}
	return nil
}
