package scenario

import (
	"cmp"
	"crypto/sha256"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/eclipse/paho.mqtt.golang/packets"

	"github.com/ebbgate/ebbgate/internal/peers"
)

// filmUpload is a device that sends one file, and begins again where it was told it
// had come to.
type filmUpload struct {
	t       *testing.T
	addr    string
	file    string // its id; empty: film
	content []byte
	segment int
	acked   []bool
	settled bool // fin was acknowledged

	backwards bool // its last segment goes first
}

// attempt sends what has not been acknowledged, a window of it in flight. On the
// way it calls each after every acknowledgement.
func (u *filmUpload) attempt(each func(acked int)) error {
	c, err := dialDevice(u.t, u.addr, "camera", true)
	if err != nil {
		return err
	}
	defer func() { _ = c.Close() }()
	sum := sha256.Sum256(u.content)
	if err := u.one(c, u.command("init"), []byte(`{"name":"film.bin"}`)); err != nil {
		return err
	}
	const window = 40
	next, flying, done := 0, 0, 0
	for _, ok := range u.acked {
		if ok {
			done++
		}
	}
	for done < len(u.acked) {
		for ; next < len(u.acked) && flying < window; next++ {
			n := next
			if u.backwards {
				n = len(u.acked) - 1 - next
			}
			if u.acked[n] {
				continue
			}
			at := n * u.segment
			if err := publishTo(c, uint16(n+2), u.command(strconv.Itoa(at)), u.content[at:min(at+u.segment, len(u.content))]); err != nil {
				return err
			}
			flying++
		}
		pk, err := c.next()
		if err != nil {
			return err
		}
		ack, ok := pk.(*packets.PubackPacket)
		if !ok {
			return errors.New("no PUBACK: " + pk.String())
		}
		u.acked[ack.MessageID-2] = true
		flying--
		done++
		each(done)
	}
	if err := u.one(c, u.command(fmt.Sprintf("fin/%d/%x", len(u.content), sum)), nil); err != nil {
		return err
	}
	u.settled = true
	return nil
}

// command is the topic of a command about the file.
func (u *filmUpload) command(text string) string {
	return "$file/" + cmp.Or(u.file, "film") + "/" + text
}

// one publishes a command and waits for its acknowledgement.
func (u *filmUpload) one(c *client, topic string, payload []byte) error {
	if err := publishTo(c, 1, topic, payload); err != nil {
		return err
	}
	pk, err := c.next()
	if _, ok := pk.(*packets.PubackPacket); err == nil && !ok {
		err = errors.New("no PUBACK: " + pk.String())
	}
	return err
}

func publishTo(c *client, id uint16, topic string, payload []byte) error {
	pk := packets.NewControlPacket(packets.Publish).(*packets.PublishPacket)
	pk.Qos, pk.MessageID, pk.TopicName, pk.Payload = 1, id, topic, payload
	return pk.Write(c)
}

// TestF40: a file goes up while the gateway is killed three times and the link is
// cut eight times. What was acknowledged is never sent again, and the file that
// arrives is the one that was sent.
func TestF40(t *testing.T) {
	t.Parallel()
	g := local(t, "file_transfer.enabled=true", "file_transfer.export.layout=${clientid}/${fileid}/${name}")
	g.start()
	proxy := peers.NewProxy(t, g.Listen)
	size := scaled(200<<20, 24<<20)
	u := newFilmUpload(t, proxy.Addr, size, dice(t))
	blows := 0
	deadline := time.Now().Add(5 * time.Minute)
	for !u.settled {
		if time.Now().After(deadline) {
			t.Fatal("the file does not arrive")
		}
		_ = u.attempt(func(done int) {
			if blows == 8 || done < (blows+1)*len(u.acked)/9 {
				return
			}
			if blows++; blows%3 == 1 {
				g.kill()
			}
			proxy.Cut() // a killed gateway's too, so that its device notices
		}) // an error is a blow: it is tried again
		proxy.Restore()
		if g.cmd == nil {
			g.start()
		}
	}
	if blows != 8 {
		t.Errorf("%d kills and cuts", blows)
	}
	path := filmPath(g)
	if !until(30*time.Second, func() bool { _, err := os.Stat(path); return err == nil }) {
		t.Fatal("the file is not exported")
	}
	got, err := os.ReadFile(path)
	if err != nil || sha256.Sum256(got) != sha256.Sum256(u.content) {
		t.Errorf("%d bytes arrived, %d were sent, %v", len(got), len(u.content), err)
	}
	if !until(30*time.Second, func() bool {
		left, err := filepath.Glob(filepath.Join(g.Data, "files", "*.segments"))
		return err == nil && len(left) == 0
	}) {
		t.Error("segments of an exported file are left")
	}
	if strings.Contains(g.log(), "panic") {
		t.Error("the gateway panicked")
	}
	if code := g.stop(); code != 0 {
		t.Errorf("exit code %d", code)
	}
}
