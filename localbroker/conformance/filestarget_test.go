package conformance

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/ebbgate/ebbgate/bridge"
)

// sendsFiles has a device send n small files, f1 and so on, which fin takes.
func sendsFiles(d *depot, n int) {
	s := d.sends(5, "c1")
	for i := range n {
		file := "$file/f" + string(rune('1'+i)) + "/"
		s.ok(file+"init", named)
		s.ok(file+"0", "x")
		s.ok(file+"fin/1", "")
	}
}

// TestTargetHoldsTheQueue: while it is the target that takes nothing, no file is
// passed over, however often it is tried: all would fail. Others are tried between, in
// case it is that file alone.
func TestTargetHoldsTheQueue(t *testing.T) {
	t.Parallel()
	d, held := slowDepot(t, func(s *depotSetup) { s.Export.Mode = "spooled" })
	sendsFiles(d, 2)
	for _, want := range []string{"f1", "f1", "f1", "f1", "f1", "f2", "f1", "f2", "f1", "f2"} {
		if f := <-held.asked; f.FileID != want {
			t.Fatalf("%s is tried in place of %s", f.FileID, want)
		}
		held.let <- bridge.Errorf(bridge.OpExport, bridge.Unavailable, "the bucket is not there")
	}
	held.let <- nil
	held.let <- nil
	eventually(t, "all are exported", func() bool { return held.count() == 2 })
	if want := []string{"c1/f1", "c1/f2"}; !slices.Equal(held.puts, want) {
		t.Errorf("in the order %q, want %q", held.puts, want)
	}
}

// TestRefusedFileHoldsNobodyUp: a file that the target will never take is passed
// over at once; it is kept, and a warning says so.
func TestRefusedFileHoldsNobodyUp(t *testing.T) {
	d, held := slowDepot(t, func(s *depotSetup) { s.Export.Mode = "spooled" })
	sendsFiles(d, 1)
	first := <-held.asked
	sendsSecond := d.sends(5, "c2")
	sendsSecond.ok("$file/g/init", named)
	sendsSecond.ok("$file/g/0", "y")
	sendsSecond.ok("$file/g/fin/1", "")
	held.let <- bridge.Errorf(bridge.OpExport, bridge.TooLarge, "more than an object has")
	if f := <-held.asked; first.FileID != "f1" || f.FileID != "g" {
		t.Fatalf("after %s %s was tried", first.FileID, f.FileID)
	}
	held.let <- nil
	eventually(t, "the other is exported", func() bool { return held.count() == 1 })
	eventually(t, "a warning", func() bool {
		return slices.ContainsFunc(d.health.Warnings(), func(w bridge.Warning) bool { return w.Code == "files-refused" })
	})
}

// TestDirectAnswersByKind: with mode direct, fin is answered by what kept the file
// from its target (F52).
func TestDirectAnswersByKind(t *testing.T) {
	d, held := slowDepot(t)
	s := d.sends(5, "c1")
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/0", "x")
	for _, c := range []struct {
		err  error
		code byte
		word string
	}{
		{bridge.Errorf(bridge.OpExport, bridge.Unavailable, "no network"), 0x80, "internal_error"},
		{bridge.Errorf(bridge.OpExport, bridge.Corrupt, "changed"), 0x80, "read_segment"},
		{bridge.Errorf(bridge.OpExport, bridge.TooLarge, "large"), 0x83, "efbig"},
		{bridge.Errorf(bridge.OpExport, bridge.Full, "no room for a copy"), 0x97, "enospc"},
		{errors.New("anything"), 0x80, "internal_error"},
	} {
		held.let <- c.err
		s.wants(c.code, c.word, "$file/f1/fin/1", "")
		<-held.asked
	}
	held.let <- nil
	s.ok("$file/f1/fin/1", "")
	d.wantFile("c1", "f1", "a.bin", "x")
}

// addressing is a target that gives out addresses, or fails to.
type addressing struct {
	bridge.FileTarget
	fails chan error // what the next ones fail with
}

func (a *addressing) Address(_ context.Context, place string) (string, error) {
	select {
	case err := <-a.fails:
		return "", err
	default:
		return "https://store.example/" + place + "?signed", nil
	}
}

// TestAddressesOfTheTarget: where the target gives out addresses, EMQX's list has
// them; where it does not, that of the gateway (F54).
func TestAddressesOfTheTarget(t *testing.T) {
	t.Parallel()
	a := &addressing{fails: make(chan error, 1)}
	d := openDepot(t, func(s *depotSetup) {
		s.folder.Layout = "${clientid}/${fileid}/${name}"
		s.target = func(to bridge.FileTarget) bridge.FileTarget { a.FileTarget = to; return a }
	})
	s := d.sends(5, "c1")
	for _, file := range []string{"f1", "f2", "f3"} {
		d.exportsOf(s, file, "a.bin", "hello")
	}
	const here = "/api/v5/file_transfer/file?"
	for _, c := range []struct {
		fails error
		want  []string // how the addresses begin
	}{
		{nil, []string{"https://store.example/c1/f1/a.bin?signed", "https://store.example/c1/f2", "https://store.example/c1/f3"}},
		{bridge.Errorf(bridge.OpExport, bridge.TopicInvalid, "of another bucket"), []string{here, "https://store.example/c1/f2", "https://store.example/c1/f3"}},
		{bridge.Errorf(bridge.OpExport, bridge.NotAuthorized, "no credentials"), []string{here, here, here}}, // nor would they be there for the rest
	} {
		if c.fails != nil {
			a.fails <- c.fails
		}
		page := d.get("/api/v5/file_transfer/files").list(t)
		for i, f := range page.Files {
			if !strings.HasPrefix(f.URI, c.want[i]) {
				t.Errorf("%v: %s, want %s", c.fails, f.URI, c.want[i])
			}
		}
		if len(page.Files) != 3 {
			t.Errorf("%d files", len(page.Files))
		}
	}
	if uri := d.get("/api/v5/file_transfer/files/c1/f1").list(t).Files[0].URI; uri != "https://store.example/c1/f1/a.bin?signed" {
		t.Error(uri)
	}
}
