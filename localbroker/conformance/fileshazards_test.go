package conformance

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/mochi-mqtt/server/v2/packets"
)

// undisturbed sends a small file beside an attack.
func (d *depot) undisturbed(client string) {
	d.tb.Helper()
	s := d.sends(5, client)
	s.ok("$file/calm/init", named)
	s.ok("$file/calm/0", "calm")
	s.ok("$file/calm/fin/4", "")
	d.wantFile(client, "calm", "a.bin", "calm")
}

// TestF45F46F47: commands of QoS 0 and 2 do nothing, nothing is retained, and
// nobody sees a command.
func TestF45F46F47(t *testing.T) {
	t.Parallel()
	for _, profile := range []string{"aws-edge", "mqtt"} {
		d := openDepot(t, func(s *depotSetup) { s.profile = profile })
		s, spy := d.sends(5, "c1"), d.join(5, "spy")
		spy.wantCodes(spy.subscribe(1, "#", "$file/#", "$file/f1/+", "$file-async/#"), 1, 0x8f, 0x8f, 0x8f)
		s.send(publish(0, "$file/f1/init", named))
		if profile == "mqtt" {
			id := s.post("$file/f1/init", named, func(pk *packets.Packet) { pk.FixedHeader.Qos = 2 })
			if ack := s.acked(id); ack.FixedHeader.Type != packets.Pubrec || ack.ReasonCode != 0x10 {
				t.Errorf("%+v", ack)
			}
			s.send(packets.Packet{FixedHeader: packets.FixedHeader{Type: packets.Pubrel}, PacketID: id})
		}
		s.wants(0x80, "incomplete", "$file/f1/fin/0", "")
		s.ok("$file/f1/init", named, retain)
		s.ok("$file/f1/0", "x", retain)
		s.ok("$file/f1/fin/1", "", retain)
		d.wantFile("c1", "f1", "a.bin", "x")
		spy.expectNothing()
		if n := d.Status().Retained; n != 0 {
			t.Errorf("%s: %d retained", profile, n)
		}
		d.undisturbed("c2")
		spy.expectNothing()
		old := d.join(4, "old") // its connection lives on
		old.wantCodes(old.subscribe(1, "$file/#"), 0x80)
		old.expectNothing()
	}
}

// TestF48: nobody but the gateway publishes responses, and a client hears its
// own only.
func TestF48(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s, thief := d.sends(5, "c1"), d.join(5, "thief")
	thief.wantCodes(thief.subscribe(1, "$file-response/c1", "$file-response/#", "$file-response/+", "$share/g/$file-response/c1", "$file-response/thief"), 0x8f, 0x8f, 0x8f, 0x8f, 1)
	thief.send(publish(1, "$file-response/c1", `{"reason_code":0}`))
	thief.expectAck(1, 0x87)
	thief.send(publish(0, "$file/f1/init", named)) // no response to it either
	s.ok("$file/f1/init", named)
	thief.expectNothing()
	if s.all(); len(s.answers()) != 1 {
		t.Errorf("%+v", s.answers())
	}
	deep := d.sends(5, "c1/x") // an id may have levels
	deep.ok("$file/f1/init", named)
	for _, id := range []string{"+", "#", "+/x", "c1/+", "c1/#"} { // its own topic would be everybody's
		thief := d.join(5, id)
		thief.wantCodes(thief.subscribe(1, "$file-response/"+id), 0x8f)
		deep.ok("$file/f1/init", named)
		s.ok("$file/f1/init", named)
		thief.expectNothing()
	}
	old := d.join(4, "old")
	old.send(publish(1, "$file-response/c1", "x"))
	old.expectEnd()
	d.undisturbed("c2")
}

// TestResponseTopicAbuse: a response goes nowhere where its device may not
// publish itself, nor to a reserved topic of another; the command does nothing.
func TestResponseTopicAbuse(t *testing.T) {
	d := openDepot(t)
	s, victim := d.sends(5, "c1"), d.join(5, "victim")
	victim.listen(1, "#")
	for _, topic := range []string{"forbidden/x", "$SYS/broker/x", "$aws/things/victim/shadow/update", "$file/f9/abort", "$file-response/victim"} {
		if code := s.command("$file/f1/init", named, func(pk *packets.Packet) { pk.Properties.ResponseTopic = topic }); code != 0x87 {
			t.Errorf("%s: %#x", topic, code)
		}
	}
	s.wants(0x80, "incomplete", "$file/f1/fin/0", "")
	victim.expectNothing()
	d.undisturbed("c2")
}

// TestPolicyDeniesCommands: the policy's word on $file/… comes first, and nothing
// of the command remains.
func TestPolicyDeniesCommands(t *testing.T) {
	t.Parallel()
	policies := t.TempDir()
	text := `{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"iot:*","Resource":"*"},{"Effect":"Deny","Action":"iot:Publish","Resource":"arn:aws:iot:*:*:topic/$file/secret/*"}]}`
	for _, name := range []string{"device.json", "retired.json"} {
		if err := os.WriteFile(filepath.Join(policies, name), []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	d := openDepot(t, func(s *depotSetup) { s.gate = append(s.gate, func(o *setup) { o.policy.Policies = policies }) })
	s := d.sends(5, "c1")
	if code := s.command("$file/secret/init", named); code != 0x87 {
		t.Errorf("%#x", code)
	}
	s.ok("$file/open/init", named)
	old := d.join(4, "old")
	old.send(publish(1, "$file/secret/init", named))
	old.expectEnd()
}

// TestF49: quotas of a client and of all are answered at once with 0x97, nobody
// else notices, and the transfer goes on when there is room again.
func TestF49(t *testing.T) {
	t.Parallel()
	d := openDepot(t, func(s *depotSetup) { s.MaxClientSize, s.MaxSize, s.ClientTransfers = 1<<20, 3<<19, 3 })
	s, other := d.sends(5, "c1"), d.sends(5, "c2")
	part := strings.Repeat("x", 1<<18)
	s.ok("$file/f1/init", named)
	s.ok("$file/f0/init", named)
	for i := range 4 {
		s.ok(fmt.Sprintf("$file/f%d/%d", i/3, i<<18), part)
	}
	s.wants(0x97, "edquot", "$file/f1/1048576", part)
	other.ok("$file/f1/0", part)
	other.ok("$file/f1/262144", part)
	other.wants(0x97, "enospc", "$file/f1/524288", part)
	if all, err := d.service.Show("c2", "f1"); err != nil || len(all) != 1 || all[0].Error != "its device is told to wait: enospc" {
		t.Errorf("%+v, %v", all, err)
	}
	s.ok("$file/f2/init", named)
	s.wants(0x97, "edquot", "$file/f3/init", named)
	s.wants(0x97, "edquot", "$file/f3/0", "x")
	s.ok("$file/f0/abort", "")
	s.ok("$file/f3/init", named)
	other.ok("$file/f1/524288", part)
	if all, err := d.service.Show("c2", "f1"); err != nil || len(all) != 1 || all[0].Error != "" {
		t.Errorf("%+v, %v", all, err)
	}
	d.undisturbed("c3")
}

// TestBounds: a file that is too big is refused for good, and so is metadata that
// is; the number of segments is bounded; with strict_emqx_codes all is 0x80.
func TestBounds(t *testing.T) {
	t.Parallel()
	for strict, codes := range map[bool][2]byte{false: {0x83, 0x97}, true: {0x80, 0x80}} {
		d := openDepot(t, func(s *depotSetup) { s.MaxFile, s.Segments, s.Transfers, s.StrictCodes = 1000, 3, 1, strict })
		s := d.sends(5, "c1")
		s.ok("$file/f1/init", named)
		s.wants(codes[0], "efbig", "$file/f1/1000", "x")
		s.wants(codes[0], "efbig", "$file/f1/999", "xx")
		s.wants(codes[0], "efbig", "$file/f1/9007199254740992", "xx")
		s.wants(codes[0], "efbig", "$file/f1/fin/1001", "")
		s.wants(codes[0], "efbig", "$file/f1/init", `{"name":"a.bin","size":1001}`)
		s.wants(codes[0], "invalid_filemeta", "$file/f1/init", `{"name":"a.bin","user_data":"`+strings.Repeat("x", 16<<10)+`"}`)
		s.wants(codes[0], "invalid_filemeta", "$file/f1/init", `{"name":"a.bin.MANIFEST.json"}`)
		s.wants(codes[1], "enospc", "$file/f2/init", named)
		for i := range 3 {
			s.ok(fmt.Sprintf("$file/f1/%d", i), "x")
		}
		s.wants(codes[1], "edquot", "$file/f1/3", "x")
		s.ok("$file/f1/1", "y")
		s.ok("$file/f1/fin/3", "")
		d.wantFile("c1", "f1", "a.bin", "xyx")
		eventually(t, "it has left", func() bool { return d.service.Summary().Waiting == 0 })
		d.undisturbed("c2")
	}
}

// TestTinySegments: of a file in many segments each has to be worth what it costs, and
// who sends crumbs all the same is told to give up; nobody else notices.
func TestTinySegments(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s := d.sends(5, "c1")
	s.ok("$file/crumbs/init", named)
	const window = 50
	for from := 0; from < 1000; from += window {
		var sent []uint16
		for at := from; at < from+window; at++ {
			sent = append(sent, s.post(fmt.Sprintf("$file/crumbs/%d", at), "x"))
		}
		for _, id := range sent {
			if ack := s.acked(id); ack.ReasonCode != 0 {
				t.Fatalf("%#x", ack.ReasonCode)
			}
		}
	}
	s.wants(0x83, "emsgsize", "$file/crumbs/1000", "x")
	d.undisturbed("c2")
	s.ok("$file/crumbs/fin/1000", "") // a small file may come in crumbs
	d.wantFile("c1", "crumbs", "a.bin", strings.Repeat("x", 1000))
}

// TestChecksumRequired: without a checksum nothing is exported where one is asked
// for.
func TestChecksumRequired(t *testing.T) {
	t.Parallel()
	d := openDepot(t, func(s *depotSetup) { s.Checksum = "required" })
	s := d.sends(5, "c1")
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/0", "hello")
	s.wants(0x80, "checksum_required", "$file/f1/fin/5", "")
	d.wantNone()
	s.ok("$file/f1/fin/5/"+sumOf("hello"), "")
}

// TestLargeSegments: a segment may be as large as max_segment, in profile aws-edge
// too, whose other messages stay bounded as they are (B84); devices are told.
func TestLargeSegments(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	c := d.dial(5)
	ack := c.connect("c1")
	if ack.Properties.MaximumPacketSize < 1<<20 {
		t.Errorf("Maximum Packet Size %d", ack.Properties.MaximumPacketSize)
	}
	s := &sender{recorder: record(c), id: "c1"}
	large := bytes.Repeat([]byte("0123456789abcdef"), 1<<16)
	for _, c := range []struct{ topic, payload string }{{"$file/f1/init", named}, {"$file/f1/0", string(large)}, {"$file/f1/1048576", "end"}, {"$file/f1/fin/1048579", ""}} {
		if code := s.command(c.topic, c.payload); code != 0 {
			t.Fatalf("%s: %#x", c.topic, code)
		}
	}
	d.wantFile("c1", "f1", "a.bin", string(large)+"end")
	s.post("$file/f1/0", string(large)+"x")
	<-s.ended
	d.wantEnd("too-large")
	m := d.join(5, "c2")
	m.send(publish(1, "dt/x", string(large)))
	m.expectGoodbye(0x97)
}

// TestLinkInTheExports: a symbolic link in the folder of exports leads nowhere.
func TestLinkInTheExports(t *testing.T) {
	t.Parallel()
	d := openDepot(t, func(s *depotSetup) { s.folder.Layout, s.Export.Mode = "${clientid}/${fileid}/${name}", "direct" })
	outside := t.TempDir()
	if err := os.Symlink(outside, filepath.Join(d.exports, "c1")); err != nil {
		t.Fatal(err)
	}
	s := d.sends(5, "c1")
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/0", "x")
	if code := s.command("$file/f1/fin/1", ""); code != 0x80 {
		t.Errorf("%#x", code)
	}
	if entries, err := os.ReadDir(outside); err != nil || len(entries) > 0 {
		t.Errorf("%d files outside, %v", len(entries), err)
	}
	d.undisturbed("c2")
}

// TestProfileAWSHasNone: in profile aws the topics are what AWS makes of them
// (B82).
func TestProfileAWSHasNone(t *testing.T) {
	t.Parallel()
	d := openDepot(t, func(s *depotSetup) { s.profile = "aws" })
	c := d.join(5, "c1")
	c.send(publish(1, "$file/f1/init", named))
	c.expectAck(1, 0x90)
}

// TestWillsSendNoFiles: a command needs a connection to be answered on.
func TestWillsSendNoFiles(t *testing.T) {
	t.Parallel()
	d := openDepot(t, func(s *depotSetup) { s.profile = "mqtt" })
	c := d.dial(5)
	ack := c.connect("c1", func(pk *packets.Packet) {
		pk.Connect.WillFlag, pk.Connect.WillTopic, pk.Connect.WillPayload = true, "$file/f1/abort", []byte("x")
	})
	if ack.ReasonCode != 0x90 {
		t.Errorf("CONNACK %#x", ack.ReasonCode)
	}
}
