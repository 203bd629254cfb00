package conformance

import (
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/mochi-mqtt/server/v2/packets"

	"github.com/ebbgate/ebbgate/bridge"
)

// TestF39F41: a transfer is not tied to a connection; what a device was
// told about need not be sent again, and a fin goes on without it: its response
// is for who listens later.
func TestF39F41(t *testing.T) {
	d, held := slowDepot(t)
	s := d.sends(5, "c1")
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/0", "first")
	s.goodbye()
	d.absent("c1")
	s = d.sends(5, "c1")
	s.ok("$file/f1/5", "second")
	d.cut(s.device, "c1")
	s = d.sends(5, "c1")
	taken := d.sends(5, "c1") // takes the session over
	<-s.ended
	taken.ok("$file/f1/11", "third")
	later := d.join(5, "later")
	later.listen(1, "answers/c1")
	taken.post("$file/f1/fin/16", "", func(pk *packets.Packet) { pk.Properties.ResponseTopic = "answers/c1" })
	<-held.asked
	d.cut(taken.device, "c1")
	held.let <- nil
	if pk := later.take(); !saysAll(pk.Payload, map[string]any{"topic": "$file/f1/fin/16", "reason_code": 0.0}) {
		t.Errorf("%s", pk.Payload)
	}
	d.wantFile("c1", "f1", "a.bin", "firstsecondthird")
}

// TestF40Restart: every state is the same after a restart. What a kill and a
// power cut do is for the tests of the whole.
func TestF40Restart(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s := d.sends(5, "c1")
	s.ok("$file/open/0", "first")
	s.ok("$file/open/init", named)
	s.ok("$file/done/init", named)
	s.ok("$file/done/0", "hello")
	s.ok("$file/done/fin/5", "")
	d.wantFile("c1", "done", "a.bin", "hello")
	s.ok("$file/gone/init", named)
	s.ok("$file/gone/0", "hello")
	s.ok("$file/gone/abort", "")
	_ = s.Close()
	<-s.ended
	d.restart()
	s = d.sends(5, "c1")
	s.ok("$file/open/5", "second")
	s.ok("$file/open/fin/11", "")
	d.wantFile("c1", "open", "a.bin", "firstsecond")
	s.ok("$file/done/fin/5", "")
	s.wants(0x80, "filemeta_conflict", "$file/done/fin/6", "")
	s.wants(0x80, "incomplete", "$file/gone/fin/5", "")
	eventually(t, "no file is left behind", func() bool { return len(d.leftovers()) == 0 })
}

// leftovers are the files of unfinished transfers.
func (d *depot) leftovers() (names []string) {
	d.tb.Helper()
	entries, err := os.ReadDir(d.dir + "/files")
	if err != nil {
		d.tb.Fatal(err)
	}
	for _, e := range entries {
		names = append(names, e.Name())
	}
	return names
}

// TestF42: segments_ttl is clamped, segments age one by one, and a new init
// begins again.
func TestF42(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s := d.sends(5, "c1")
	s.ok("$file/f1/init", `{"name":"a.bin","segments_ttl":1}`)
	s.ok("$file/f1/0", "first")
	age := func(by time.Duration) {
		d.clock.advance(by)
		d.service.Sweep()
	}
	age(200 * time.Second)
	s.ok("$file/f1/init", `{"name":"a.bin","segments_ttl":1}`)
	s.ok("$file/f1/5", "second")
	age(200 * time.Second) // the first segment is too old, the rest is not
	s.wants(0x80, "incomplete", "$file/f1/fin/11", "")
	s.wants(0x80, "filemeta_conflict", "$file/f1/init", named)
	s.ok("$file/f1/0", "first")
	s.ok("$file/f1/fin/11", "")
	d.wantFile("c1", "f1", "a.bin", "firstsecond")
	s.ok("$file/f2/init", `{"name":"a.bin","segments_ttl":1000000}`)
	age(25 * time.Hour)
	s.ok("$file/f2/init", named)
}

// TestF43: what is being assembled is not swept away, and a transfer that lasts
// too long is, however busy it is.
func TestF43(t *testing.T) {
	d, held := slowDepot(t, func(s *depotSetup) { s.Lifetime = time.Hour })
	s := d.sends(5, "c1")
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/0", "hello")
	s.ok("$file/slow/init", named)
	fin := s.post("$file/f1/fin/5", "")
	<-held.asked
	d.clock.advance(61 * time.Minute)
	d.service.Sweep()
	held.let <- nil
	if ack := s.acked(fin); ack.ReasonCode != 0 {
		t.Errorf("%#x", ack.ReasonCode)
	}
	d.wantFile("c1", "f1", "a.bin", "hello")
	s.wants(0x80, "incomplete", "$file/slow/fin/0", "")
	held.let <- nil
	d.undisturbed("c2")
}

// TestF44: abort forgets, and of an unknown transfer it is no error.
func TestF44(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s := d.sends(5, "c1")
	s.ok("$file/never/abort", "")
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/0", "hello")
	s.ok("$file/f1/abort", "")
	eventually(t, "its file is gone", func() bool { return len(d.leftovers()) == 0 })
	s.wants(0x80, "incomplete", "$file/f1/fin/5", "")
	s.ok("$file/f1/init", `{"name":"b.bin"}`)
}

// TestF50: a fin that takes too long is answered, the work goes on, and the next
// one has its result.
func TestF50(t *testing.T) {
	d, held := slowDepot(t, func(s *depotSetup) { s.AssembleTimeout = 10 * time.Millisecond })
	s := d.sends(5, "c1")
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/0", "hello")
	s.wants(0x80, "timeout", "$file/f1/fin/5", "")
	<-held.asked
	held.let <- nil
	d.wantFile("c1", "f1", "a.bin", "hello")
	eventually(t, "a later fin has the result", func() bool { return s.command("$file/f1/fin/5", "") == 0 })
}

// TestF52: with mode direct a target that takes nothing fails the fin, keeps the
// segments, and the next fin succeeds.
func TestF52(t *testing.T) {
	d, held := slowDepot(t)
	s := d.sends(5, "c1")
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/5", "world")
	s.ok("$file/f1/0", "hello")
	for err, word := range map[error]string{&os.PathError{Op: "open", Err: syscall.EACCES}: "eacces", fmt.Errorf("put: %w", syscall.EROFS): "erofs", errors.New("away"): "internal_error"} {
		held.let <- err
		s.wants(0x80, word, "$file/f1/fin/10", "")
		d.wantNone()
	}
	held.let <- nil
	s.ok("$file/f1/fin/10", "")
	d.wantFile("c1", "f1", "a.bin", "helloworld")
}

// TestF56: with mode spooled fin succeeds while the target is away; the
// files are exported once it is back, in the order of the fins, and a restart
// between changes nothing.
func TestF56(t *testing.T) {
	d, held := slowDepot(t, func(s *depotSetup) { s.Export.Mode = "spooled" })
	s := d.sends(5, "c1")
	var want []string
	for i := range 5 {
		file := fmt.Sprintf("$file/f%d/", 9-i)
		s.ok(file+"init", named)
		s.ok(file+"0", strings.Repeat("x", i+1))
		s.ok(fmt.Sprintf("%sfin/%d", file, i+1), "")
		s.ok(fmt.Sprintf("%sfin/%d", file, i+1), "")
		s.wants(0x80, "filemeta_conflict", file+"fin/7", "")
		want = append(want, fmt.Sprintf("c1/f%d", 9-i))
	}
	<-held.asked
	held.let <- errors.New("away")
	eventually(t, "a warning", func() bool {
		return slices.ContainsFunc(d.health.Warnings(), func(w bridge.Warning) bool { return w.Code == "files-export" })
	})
	d.wantNone()
	_ = s.Close()
	<-s.ended
	d.restart()
	for range 5 {
		held.let <- nil
	}
	eventually(t, "all are exported", func() bool { return held.count() == 5 })
	if !slices.Equal(held.puts, want) {
		t.Errorf("in the order %q, want %q", held.puts, want)
	}
}

// TestF55: an exported file goes when its expire_at has passed, if that is
// wanted.
func TestF55(t *testing.T) {
	t.Parallel()
	for _, mode := range []string{"keep", "remove"} {
		d := openDepot(t, func(s *depotSetup) { s.Export.ExpireAt = mode })
		s := d.sends(5, "c1")
		s.ok("$file/f1/init", fmt.Sprintf(`{"name":"a.bin","expire_at":%d}`, d.clock.now().Unix()+3600))
		s.ok("$file/f1/0", "hello")
		s.ok("$file/f1/fin/5", "")
		d.wantFile("c1", "f1", "a.bin", "hello")
		d.service.Sweep()
		if n := len(d.exported()); n != 1 {
			t.Errorf("%s: %d files before it expires", mode, n)
		}
		d.clock.advance(2 * time.Hour)
		if mode == "remove" {
			eventually(t, "it is removed", func() bool {
				d.service.Sweep()
				return len(d.exported()) == 0
			})
		}
		d.service.Sweep()
		if n := len(d.exported()); n != map[string]int{"keep": 1, "remove": 0}[mode] {
			t.Errorf("%s: %d files", mode, n)
		}
	}
}

// TestF51Layouts: the path is EMQX's, or what the template says.
func TestF51Layouts(t *testing.T) {
	t.Parallel()
	for layout, want := range map[string]string{
		"emqx":                                 "8E/B5/7023DA998C12F0B2A6CA586027E48BEC6271/client-1/file-id-1/up.txt",
		"in/of-${clientid}/${fileid}_/${name}": "in/of-client-1/file-id-1_/up.txt",
		"${clientid}/${fileid}/x/${name}.1":    "client-1/file-id-1/x/up.txt.1",
	} {
		d := openDepot(t, func(s *depotSetup) { s.folder.Layout = layout })
		s := d.sends(5, "client-1")
		s.ok("$file/file-id-1/init", `{"name":"up.txt"}`)
		s.ok("$file/file-id-1/0", "hello")
		s.ok("$file/file-id-1/fin/5", "")
		eventually(t, want, func() bool { return slices.Equal(d.exported(), []string{want}) })
		d.wantFileAt(want, "hello")
	}
}
