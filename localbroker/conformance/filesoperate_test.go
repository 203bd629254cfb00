package conformance

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/localbroker/upload"
)

// runningOf are all transfers that run, page by page.
func (d *depot) runningOf(limit int) (all []upload.Transfer) {
	d.tb.Helper()
	for following := ""; ; {
		page, next := d.service.Running(following, limit)
		if len(page) > limit {
			d.tb.Errorf("a page of %d", len(page))
		}
		all = append(all, page...)
		if following = next; next == "" {
			return all
		}
	}
}

// only is the one transfer of a client's file.
func (d *depot) only(client, file string) upload.Detail {
	d.tb.Helper()
	all, err := d.service.Show(client, file)
	if err != nil || len(all) != 1 {
		d.tb.Fatalf("%s of %s: %+v %v", file, client, all, err)
	}
	return all[0]
}

// TestTransfersAreListed: what runs is listed page by page, each once, with how far
// it is; after a restart too, with what it has cost at least.
func TestTransfersAreListed(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	for _, id := range []string{"c1", "c2"} {
		s := d.sends(5, id)
		for i := range 5 {
			file := fmt.Sprintf("$file/f%d/", i)
			s.ok(file+"init", `{"name":"a.bin","size":100}`)
			s.ok(file+"0", strings.Repeat("x", 10))
			s.ok(file+"50", strings.Repeat("x", 20))
			s.wants(0x80, "incomplete", file+"fin/100", "")
		}
	}
	check := func(messages int64, atLeast bool) {
		t.Helper()
		for _, limit := range []int{1, 3, 1000} {
			var names []string
			for _, x := range d.runningOf(limit) {
				names = append(names, x.ClientID+"/"+x.FileID)
				if x.State != upload.StateOpen || x.Name != "a.bin" || *x.Size != 100 || x.Received != 30 || x.Segments != 2 || x.Cost.Messages != messages || x.Cost.AtLeast != atLeast {
					t.Errorf("%+v", x)
				}
			}
			if slices.Sort(names); len(slices.Compact(names)) != 10 {
				t.Errorf("pages of %d: %q", limit, names)
			}
		}
	}
	check(4, false)
	x := d.only("c1", "f0")
	if fmt.Sprint(x.Have) != "[{0 10} {50 70}]" || fmt.Sprint(x.Gaps) != "[{10 50} {70 100}]" || x.Smallest != 10 || x.Largest != 20 || x.Cut {
		t.Errorf("%+v", x)
	}
	if n := len(x.Answers); n != 2 || x.Answers[0].Command != "init" || x.Answers[1].Said != "incomplete" || x.Answers[1].Offset != 100 {
		t.Errorf("%+v", x.Answers)
	}
	if x.Cost.Units != 4 || x.Cost.Wire < 30+4*20 || x.Cost.Wire > 30+4*60 {
		t.Errorf("%+v", x.Cost)
	}
	d.restart()
	check(3, true)
}

// TestTransferRate: a transfer that goes on steadily has its rate, and is done when
// that says; one that stands still has none.
func TestTransferRate(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s := d.sends(5, "c1")
	s.ok("$file/f1/init", `{"name":"a.bin","size":100000}`)
	for i := range 40 {
		d.clock.advance(time.Second)
		s = d.again(s)
		s.ok(fmt.Sprintf("$file/f1/%d", i*1000), strings.Repeat("x", 1000))
	}
	x := d.only("c1", "f1")
	if x.Rate < 900 || x.Rate > 1200 || x.Left < 50 || x.Left > 70 {
		t.Errorf("%v bytes a second, %v s left", x.Rate, x.Left)
	}
	d.clock.advance(10 * time.Minute)
	if x := d.only("c1", "f1"); x.Rate >= 1 || x.Left != 0 || x.Idle < 600 {
		t.Errorf("%v bytes a second, %v s left, idle for %v", x.Rate, x.Left, x.Idle)
	}
}

// again is the sender, connected anew if a jump of the clock has ended it.
func (d *depot) again(s *sender) *sender {
	select {
	case <-s.ended:
		return d.sends(s.version, s.id)
	default:
		return s
	}
}

// TestGiveUp: a transfer that is given up is gone for good, its room is free, and
// its device hears so; what is not there cannot be given up.
func TestGiveUp(t *testing.T) {
	t.Parallel()
	d := openDepot(t, func(s *depotSetup) { s.ClientTransfers = 1 })
	s := d.sends(5, "c1")
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/0", "hello")
	s.wants(0x97, "edquot", "$file/f2/init", named)
	if err := d.service.GiveUp(t.Context(), "c1", "f1"); err != nil {
		t.Fatal(err)
	}
	s.wants(0x80, "incomplete", "$file/f1/fin/5", "")
	s.ok("$file/f2/init", named)
	for _, file := range []string{"f1", "f3"} {
		if err := d.service.GiveUp(t.Context(), "c1", file); !errors.Is(err, upload.ErrUnknown) {
			t.Error(err)
		}
	}
	d.restart()
	if all := d.runningOf(10); len(all) != 1 || all[0].FileID != "f2" {
		t.Errorf("%+v", all)
	}
}

// heldQueue is a depot whose files wait for their export, which the test holds.
func heldQueue(t *testing.T) (*depot, *heldTarget) {
	t.Helper()
	return slowDepot(t, func(s *depotSetup) { s.Export.Mode = "spooled" })
}

// TestGiveUpAnExport: what is being exported is given up once the target has let it
// go, and is not exported later, nor does it hold up others.
func TestGiveUpAnExport(t *testing.T) {
	t.Parallel()
	d, held := heldQueue(t)
	s := d.sends(5, "c1")
	for _, file := range []string{"f1", "f2"} {
		s.ok("$file/"+file+"/init", named)
		s.ok("$file/"+file+"/0", "hello")
		s.ok("$file/"+file+"/fin/5", "")
	}
	if f := <-held.asked; f.FileID != "f1" {
		t.Fatalf("%+v", f)
	}
	if x := d.only("c1", "f1"); x.State != upload.StateExporting || x.SHA256 != sumOf("hello") {
		t.Errorf("%+v", x)
	}
	if x := d.only("c1", "f2"); x.State != upload.StateQueued {
		t.Errorf("%+v", x)
	}
	if err := d.service.GiveUp(t.Context(), "c1", "f1"); err != nil {
		t.Fatal(err)
	}
	if f := <-held.asked; f.FileID != "f2" {
		t.Fatalf("%+v", f)
	}
	held.let <- nil
	d.wantFile("c1", "f2", "a.bin", "hello")
	if all, err := d.service.Show("c1", "f1"); err != nil || len(all) > 0 {
		t.Errorf("%+v %v", all, err)
	}
}

// TestRetry: a failed export says why, and is tried at once when it is asked for;
// what is open or exported is not.
func TestRetry(t *testing.T) {
	t.Parallel()
	d, held := heldQueue(t)
	s := d.sends(5, "c1")
	s.ok("$file/open/init", named)
	s.ok("$file/f1/init", named)
	s.ok("$file/f1/0", "hello")
	s.ok("$file/f1/fin/5", "")
	for range 3 { // the wait between attempts grows
		<-held.asked
		held.let <- errors.New("the store says no")
	}
	eventually(t, "the failure", func() bool {
		x := d.only("c1", "f1")
		return x.State == upload.StateFailed && x.Attempts == 3 && strings.Contains(x.Error, "the store says no")
	})
	if err := d.service.Retry("c1", "f1"); err != nil {
		t.Fatal(err)
	}
	f := <-held.asked
	read := make([]byte, 2)
	if _, err := f.Unsent.ReadAt(read, 0); err != nil {
		t.Fatal(err)
	}
	if x := d.only("c1", "f1"); x.State != upload.StateExporting || x.Sent != 0 || x.Error == "" {
		t.Errorf("nothing is sent yet: %+v", x)
	}
	if _, err := f.Content.ReadAt(read, 0); err != nil {
		t.Fatal(err)
	}
	if x := d.only("c1", "f1"); x.State != upload.StateExporting || x.Sent != 2 || x.Error != "" {
		t.Errorf("2 bytes are sent, and the error is over: %+v", x)
	}
	for range 2 { // a request that a target repeats
		if _, err := f.Content.ReadAt(make([]byte, 5), 0); err != nil {
			t.Fatal(err)
		}
	}
	if x := d.only("c1", "f1"); x.Sent != 5 || x.Cost.Exported != 12 {
		t.Errorf("12 bytes are sent of 5: %+v", x)
	}
	held.let <- nil
	d.wantFile("c1", "f1", "a.bin", "hello")
	eventually(t, "its end", func() bool { // for a moment it is listed as both
		all, err := d.service.Show("c1", "f1")
		return err == nil && len(all) == 1 && all[0].State == upload.StateExported
	})
	if x := d.only("c1", "f1"); x.Cost.Messages != 3 || x.Cost.Units != 3 || x.Cost.Exported < 5 || x.Place == "" || x.ExportedAt.IsZero() {
		t.Errorf("%+v", x)
	}
	for file, want := range map[string]string{"open": "not whole", "f1": "exported already", "none": upload.ErrUnknown.Error()} {
		if err := d.service.Retry("c1", file); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v", file, err)
		}
	}
}

// TestRemoveExported: the file goes with its manifest, and its id may be used anew.
func TestRemoveExported(t *testing.T) {
	t.Parallel()
	d := openDepot(t)
	s := d.sends(5, "c1")
	d.exportsOf(s, "f1", "a.bin", "one")
	_, in, err := d.service.Read(t.Context(), "c1", "f1")
	if err != nil {
		t.Fatal(err)
	}
	if b, err := io.ReadAll(in); err != nil || string(b) != "one" {
		t.Errorf("%q %v", b, err)
	}
	closes(t, in)
	if err := d.service.Remove(t.Context(), "c1", "f1"); err != nil {
		t.Fatal(err)
	}
	d.wantNone()
	if err := d.service.Remove(context.Background(), "c1", "f1"); !errors.Is(err, upload.ErrUnknown) {
		t.Error(err)
	}
	d.exportsOf(s, "f1", "a.bin", "two")
	d.wantFile("c1", "f1", "a.bin", "two")
}
