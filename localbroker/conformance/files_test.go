package conformance

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// sender is a device that sends files.
type sender struct {
	*recorder
	id   string
	next uint16
}

// sends connects a device that hears its responses.
func (d *depot) sends(version byte, id string) *sender {
	d.tb.Helper()
	c := d.join(version, id)
	c.wantCodes(c.subscribe(1, "$file-response/"+id), 1)
	return &sender{recorder: record(c), id: id}
}

// command publishes a command and returns the reason code of its PUBACK.
func (s *sender) command(topic, payload string, changes ...change) byte {
	s.tb.Helper()
	return s.acked(s.post(topic, payload, changes...)).ReasonCode
}

// post publishes a command and does not wait.
func (s *sender) post(topic, payload string, changes ...change) uint16 {
	s.tb.Helper()
	s.next++
	s.send(publish(s.next, topic, payload, changes...))
	return s.next
}

// wants publishes a command and compares its code, and its response.
func (s *sender) wants(code byte, word, topic, payload string, changes ...change) {
	s.tb.Helper()
	got := s.command(topic, payload, changes...)
	if s.version < 5 {
		code = got
	}
	if got != code {
		s.tb.Errorf("%s: PUBACK %#x, want %#x", topic, got, code)
	}
	want := answer{Version: "0.1", Topic: topic, PacketID: s.next, Description: word}
	if word != "success" {
		want.Code = 128
	}
	if a := s.answerTo(s.next); a != want {
		s.tb.Errorf("%s: %+v, want %+v", topic, a, want)
	}
}

func (s *sender) ok(topic, payload string, changes ...change) {
	s.tb.Helper()
	s.wants(0, "success", topic, payload, changes...)
}

// answers are the responses that have come on the device's own topic.
func (s *sender) answers() (out []answer) {
	for _, pk := range s.messages() {
		var a answer
		if err := json.Unmarshal(pk.Payload, &a); err == nil && pk.TopicName == "$file-response/"+s.id {
			out = append(out, a)
		}
	}
	return out
}

// answerTo waits for the response to a command.
func (s *sender) answerTo(id uint16) (a answer) {
	s.tb.Helper()
	eventually(s.tb, fmt.Sprintf("the response to %d", id), func() bool {
		i := slices.IndexFunc(s.answers(), func(a answer) bool { return a.PacketID == id })
		if i >= 0 {
			a = s.answers()[i]
		}
		return i >= 0
	})
	return a
}

// wantFile waits for an exported file and compares it, with its manifest.
func (d *depot) wantFile(client, file, name, content string) {
	d.tb.Helper()
	d.wantFileAt(d.placeOf(client, file, name), content)
}

func (d *depot) placeOf(client, file, name string) (place string) {
	d.tb.Helper()
	end := "/" + client + "/" + file + "/" + name
	eventually(d.tb, "an exported file "+end, func() bool {
		files := d.exported()
		i := slices.IndexFunc(files, func(f string) bool { return strings.HasSuffix("/"+f, end) })
		if i >= 0 {
			place = files[i]
		}
		return i >= 0
	})
	return place
}

func (d *depot) wantFileAt(place, content string) {
	d.tb.Helper()
	got, err := os.ReadFile(filepath.Join(d.exports, filepath.FromSlash(place)))
	if err != nil || string(got) != content {
		d.tb.Errorf("%s: %d bytes, want %d: %v", place, len(got), len(content), err)
	}
	manifest, err := os.ReadFile(filepath.Join(d.exports, filepath.FromSlash(place)+".MANIFEST.json"))
	var m []json.RawMessage
	if err != nil || json.Unmarshal(manifest, &m) != nil || len(m) != 3 || string(m[0]) != `"filemeta"` {
		d.tb.Errorf("manifest %s: %v", manifest, err)
	}
	if sum := sha256.Sum256([]byte(content)); !bytes.Contains(bytes.ToLower(manifest), []byte(hex.EncodeToString(sum[:]))) {
		d.tb.Errorf("the manifest has another checksum: %s", manifest)
	}
}

func (d *depot) wantNone() {
	d.tb.Helper()
	if got := d.exported(); len(got) > 0 {
		d.tb.Errorf("exported: %q", got)
	}
}

func sumOf(s string) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:])
}

const named = `{"name":"a.bin"}`

// TestF01F02F03F04F06 sends a file by each prefix and both mixed, in both
// versions of MQTT: each command has one response, with its topic and packet id,
// and an asynchronous fin is acknowledged first.
func TestF01F02F03F04F06(t *testing.T) {
	t.Parallel()
	for _, version := range []byte{4, 5} {
		d := openDepot(t)
		s := d.sends(version, "c1")
		for i, prefix := range [][2]string{{"$file", "$file"}, {"$file-async", "$file-async"}, {"$file", "$file-async"}} {
			file := fmt.Sprintf("f%d", i)
			s.ok(prefix[0]+"/"+file+"/init", named)
			s.ok(prefix[1]+"/"+file+"/0", "first")
			s.ok(prefix[0]+"/"+file+"/5", "second")
			s.ok(prefix[1]+"/"+file+"/fin/11", "")
			d.wantFile("c1", file, "a.bin", "firstsecond")
			s.mu.Lock()
			if at := s.after[s.next]; i > 0 && at >= len(s.heard) {
				t.Errorf("the response to an asynchronous fin came before its PUBACK")
			}
			s.mu.Unlock()
		}
		s.all()
		seen := map[uint16]int{}
		for _, a := range s.answers() {
			seen[a.PacketID]++
		}
		for id := uint16(1); id <= s.next; id++ {
			if seen[id] != 1 {
				t.Errorf("command %d has %d responses", id, seen[id])
			}
		}
	}
}

// TestF05: a Response-Topic takes the place of the device's own, and
// Correlation Data comes back.
func TestF05(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s, other := d.sends(5, "c1"), d.join(5, "other")
	other.listen(1, "answers/c1")
	code := s.command("$file/f1/init", named, func(pk *packets.Packet) {
		pk.Properties.ResponseTopic, pk.Properties.CorrelationData = "answers/c1", []byte{0, 1, 2}
	})
	pk := other.take()
	if code != 0 || pk.TopicName != "answers/c1" || !bytes.Equal(pk.Properties.CorrelationData, []byte{0, 1, 2}) || !saysAll(pk.Payload, map[string]any{"reason_description": "success"}) {
		t.Errorf("%#x %+v", code, pk)
	}
	if s.all(); len(s.answers()) > 0 {
		t.Errorf("%+v", s.answers())
	}
}

// TestF07F08F09F10F19: order does not matter, nor copies, nor empty segments;
// the last of two that differ counts; init may come late.
func TestF07F08F09F10F19(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s := d.sends(5, "c1")
	s.ok("$file/f1/11", "third")
	s.ok("$file/f1/5", "wrong!")
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/5", "second")
	s.ok("$file/f1/7", "")
	s.ok("$file/f1/0", "first")
	s.ok("$file/f1/0", "first", func(pk *packets.Packet) { pk.FixedHeader.Dup = true })
	s.ok("$file/f1/0", "first")
	s.ok("$file/f1/fin/16", "")
	d.wantFile("c1", "f1", "a.bin", "firstsecondthird")
}

// TestF11F12F13: without metadata or with a piece missing nothing is exported
// and nothing lost.
func TestF11F12F13(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s := d.sends(5, "c1")
	parts := []string{"first", "second", "third"}
	for missing := range parts {
		file := fmt.Sprintf("$file/f%d/", missing)
		s.wants(0x80, "incomplete", file+"fin/16", "")
		at := 0
		for i, p := range parts {
			if i != missing {
				s.ok(fmt.Sprintf("%s%d", file, at), p)
			}
			at += len(p)
		}
		s.wants(0x80, "incomplete", file+"fin/16", "")
		s.ok(file+"init", named)
		s.wants(0x80, "incomplete", file+"fin/16", "")
		d.wantNone()
		s.ok(fmt.Sprintf("%s%d", file, len(strings.Join(parts[:missing], ""))), parts[missing])
		s.ok(file+"fin/16", "")
		d.wantFile("c1", fmt.Sprintf("f%d", missing), "a.bin", "firstsecondthird")
		for _, f := range d.exported() {
			if err := os.RemoveAll(filepath.Join(d.exports, strings.SplitN(f, "/", 2)[0])); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestF14F15F16F17F18: what covers a file is a chain of exact boundaries.
func TestF14F15F16F17F18(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s := d.sends(5, "c1")
	s.ok("$file/f14/init", `{"name":"a.bin","size":9999}`) // F17
	s.ok("$file/f14/0", "0123456789")
	s.ok("$file/f14/0", "01234")
	s.ok("$file/f14/5", "56789abcde")
	s.ok("$file/f14/10", "abcde")
	s.ok("$file/f14/15", "beyond") // F16
	s.ok("$file/f14/fin/15", "")
	d.wantFile("c1", "f14", "a.bin", "0123456789abcde")
	s.ok("$file/f15/init", named)
	s.ok("$file/f15/0", "0123456789abcde")
	s.ok("$file/f15/10", "abcdefghij")
	s.wants(0x80, "incomplete", "$file/f15/fin/20", "")
	s.wants(0x80, "incomplete", "$file/f15/fin/12", "") // F16
	s.ok("$file/f18/init", named)
	s.ok("$file/f18/fin/0", "")
	d.wantFile("c1", "f18", "a.bin", "")
}

// TestF35F36: fins in flight share one assembly and are all answered; one that
// comes again with DUP while it is worked on has one answer.
func TestF35F36(t *testing.T) {
	d, held := slowDepot(t)
	s := d.sends(5, "c1")
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/0", "hello")
	first := s.post("$file/f1/fin/5", "")
	<-held.asked
	again := publish(first, "$file/f1/fin/5", "", func(pk *packets.Packet) { pk.FixedHeader.Dup = true })
	s.send(again)
	second := s.post("$file/f1/fin/5", "")
	s.all() // the gateway has the copy before the first is answered: later it would be a command of its own
	held.let <- nil
	if a, b := s.acked(first), s.acked(second); a.ReasonCode != 0 || b.ReasonCode != 0 {
		t.Errorf("%#x %#x", a.ReasonCode, b.ReasonCode)
	}
	s.answerTo(second)
	s.all()
	if n := len(slices.DeleteFunc(s.answers(), func(a answer) bool { return a.PacketID != first })); n != 1 {
		t.Errorf("%d responses to a fin and its copy", n)
	}
	if n := held.count(); n != 1 {
		t.Errorf("%d exports", n)
	}
	d.wantFile("c1", "f1", "a.bin", "hello")
}

// TestF37F38: a transfer is its client's own.
func TestF37F38(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	one, two := d.sends(5, "c1"), d.sends(5, "c2")
	one.ok("$file/f1/init", named)
	one.ok("$file/f1/0", "one")
	two.wants(0x80, "incomplete", "$file/f1/fin/3", "")
	two.ok("$file/f1/init", named)
	two.ok("$file/f1/0", "two")
	var both sync.WaitGroup
	for _, s := range []*sender{one, two} {
		both.Go(func() { s.ok("$file/f1/fin/3", "") })
	}
	both.Wait()
	d.wantFile("c1", "f1", "a.bin", "one")
	d.wantFile("c2", "f1", "a.bin", "two")
}
