package conformance

import (
	"slices"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// warns reports whether a warning stands.
func (d *depot) warns(code string) bool {
	return slices.ContainsFunc(d.health.Warnings(), func(w bridge.Warning) bool { return w.Code == code })
}

// A file that its target refuses for what it is holds up no other, and is not asked
// about again before the next start; somebody is told.
func TestFileThatTheTargetRefuses(t *testing.T) {
	d, held := slowDepot(t, func(s *depotSetup) { s.Export.Mode = "spooled" })
	s := d.sends(5, "c1")
	send := func(file string) {
		t.Helper()
		s.ok("$file/"+file+"/init", named)
		s.ok("$file/"+file+"/0", "hello")
		s.ok("$file/"+file+"/fin/5", "")
	}
	send("f1")
	if f := <-held.asked; f.FileID != "f1" {
		t.Fatal(f.FileID)
	}
	held.let <- bridge.Errorf(bridge.OpExport, bridge.TooLarge, "never")
	for _, file := range []string{"f2", "f3"} {
		send(file)
		if f := <-held.asked; f.FileID != file {
			t.Errorf("%s is exported in place of %s", f.FileID, file)
		}
		held.let <- nil
		d.wantFile("c1", file, "a.bin", "hello")
	}
	if !d.warns("files-refused") || d.warns("files-export") {
		t.Errorf("%+v", d.health.Warnings())
	}
	_ = s.Close()
	<-s.ended
	d.restart()
	if f := <-held.asked; f.FileID != "f1" {
		t.Errorf("after a restart %s is exported", f.FileID)
	}
	held.let <- nil
	eventually(t, "it is exported", func() bool { return held.count() == 3 })
}

// What a window or a budget holds back is tried again, and nothing is wrong with it;
// with mode direct its device is told to wait.
func TestFileThatIsHeldBack(t *testing.T) {
	late := bridge.Errorf(bridge.OpExport, bridge.Unavailable, "%w: a window", bridge.ErrHeld)
	d, held := slowDepot(t, func(s *depotSetup) { s.Export.Mode = "spooled" })
	s := d.sends(5, "c1")
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/0", "hello")
	s.ok("$file/f1/fin/5", "")
	for range 7 {
		held.let <- late
	}
	held.let <- nil
	d.wantFile("c1", "f1", "a.bin", "hello")
	if d.warns("files-export") {
		t.Errorf("%+v", d.health.Warnings())
	}

	d, held = slowDepot(t)
	s = d.sends(5, "c1")
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/0", "hello")
	held.let <- late
	s.wants(0x97, "eagain", "$file/f1/fin/5", "")
	held.let <- nil
	s.ok("$file/f1/fin/5", "")
}
