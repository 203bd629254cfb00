package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream/folder"
)

// warned are the codes of a gateway's warnings that begin so.
func warned(h *bridge.Health, prefix string) (out []string) {
	for _, w := range h.Warnings() {
		if strings.HasPrefix(w.Code, prefix) {
			out = append(out, w.Code)
		}
	}
	slices.Sort(out)
	return out
}

// The disk of files is not there when the gateway starts, and is mounted later:
// messages are taken all the while, those that are to become files wait, and a
// warning says why..
func TestStoresThatComeLater(t *testing.T) {
	for _, away := range [][]string{{"files", "exports"}, {"files"}, {"exports"}} {
		t.Run(strings.Join(away, " and "), func(t *testing.T) {
			dir := t.TempDir()
			for _, d := range []string{"files", "exports"} { // links to where their disk is mounted
				if err := os.Symlink(filepath.Join(dir, "disk-"+d), filepath.Join(dir, d)); err != nil {
					t.Fatal(err)
				}
			}
			mount := func(d string) {
				if err := os.Mkdir(filepath.Join(dir, "disk-"+d), 0o700); err != nil {
					t.Fatal(err)
				}
			}
			for _, d := range []string{"files", "exports"} {
				if !slices.Contains(away, d) {
					mount(d)
				}
			}
			path := filepath.Join(dir, "ebbgate.yaml")
			text := fmt.Sprintf("gateway: {id: gw}\nspool: {dir: data}\npolicy: {things: \"\", policies: \"\"}\nadmin: {address: \"\"}\nlisteners: [{name: lan, address: \"127.0.0.1:0\"}]\n"+
				"routes: {up: [{name: images, from: \"img/#\", upstream: cloud, divert: 64KiB}]}\nupstreams: {cloud: {endpoint: \"mqtt://127.0.0.1:1\"}}\n"+
				"file_transfer: {enabled: true, headroom: 32MiB, dir: %q, export: {dir: %q}}\n", filepath.Join(dir, "files", "of", "ours"), filepath.Join(dir, "exports", "of", "ours"))
			if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
				t.Fatal(err)
			}
			cfg, err := configs.Load(path, nil, nil)
			if err != nil {
				t.Fatal(err)
			}
			g, err := openGateway(cfg, slog.New(slog.DiscardHandler))
			if err != nil {
				t.Fatalf("a gateway without %v does not start: %v", away, err)
			}
			ctx, cancel := context.WithCancel(context.Background())
			done := make(chan error, 1)
			go func() { done <- g.files.run(ctx) }()
			defer func() {
				cancel()
				if err := errors.Join(<-done, g.close()); err != nil {
					t.Error(err)
				}
			}()

			content := strings.Repeat("0123456789", 1000)
			uri, err := g.files.handed.Hand(t.Context(), largeFile("f", content))
			if slices.Contains(away, "files") {
				if err == nil || bridge.OfFile(err) || !strings.Contains(err.Error(), "file_transfer.dir") {
					t.Fatalf("handed over without a store: %q, %v", uri, err)
				}
				if got := warned(g.health, "files-store"); len(got) != 1 {
					t.Errorf("warnings %v", g.health.Warnings())
				}
			} else if err != nil {
				t.Fatal(err)
			}
			if slices.Contains(away, "exports") {
				if got := warned(g.health, "files-export-away"); len(got) != 1 {
					t.Errorf("warnings %v", g.health.Warnings())
				}
			}

			for _, d := range away {
				mount(d)
			}
			g.files.service.Sweep()
			if uri, err = g.files.handed.Hand(t.Context(), largeFile("f", content)); err != nil {
				t.Fatalf("handed over with the store: %v", err)
			}
			u, err := url.Parse(uri)
			if err != nil {
				t.Fatal(err)
			}
			tick := time.NewTicker(5 * time.Millisecond)
			defer tick.Stop()
			for got := []byte(nil); string(got) != content; got, _ = os.ReadFile(u.Path) {
				select {
				case <-tick.C:
				case <-t.Context().Done():
					t.Fatal("it is not exported")
				}
			}
			g.files.service.Sweep() // what the exporter has found out before this one
			if got := append(warned(g.health, "files-store"), warned(g.health, "files-export-away")...); len(got) > 0 {
				t.Errorf("still warned of %v", got)
			}
		})
	}
}

// What no disk will mend is an error at the start, and what reads or removes a file
// says that its folder is away.
func TestFolderThatComesLater(t *testing.T) {
	o := folder.DefaultOptions()
	o.Layout = "${nobody}"
	if _, err := openFolder(o, nil, slog.New(slog.DiscardHandler), new(bridge.Health)); err == nil {
		t.Error("a layout that is none is taken")
	}
	blocked := filepath.Join(t.TempDir(), "mount")
	if err := os.WriteFile(blocked, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	o = folder.DefaultOptions()
	o.Dir = filepath.Join(blocked, "exports")
	health := new(bridge.Health)
	d, err := openFolder(o, nil, slog.New(slog.DiscardHandler), health)
	if err != nil {
		t.Fatal(err)
	}
	ctx, f := t.Context(), largeFile("f", "x")
	_, put := d.Put(ctx, f)
	_, open := d.Open(ctx, "place")
	for what, err := range map[string]error{"put": put, "open": open, "remove": d.Remove(ctx, "place")} {
		if !bridge.OfTarget(err) || !strings.Contains(err.Error(), blocked) || !strings.Contains(err.Error(), "file_transfer.export.dir") {
			t.Errorf("%s: %v", what, err)
		}
	}
	stays := func(string, string) bool { return true }
	if err := d.Abandon(ctx, stays); err != nil || len(warned(health, "files-export-away")) != 1 {
		t.Errorf("%v, %v", err, health.Warnings())
	}
	if err := os.Remove(blocked); err != nil {
		t.Fatal(err)
	}
	if err := d.Abandon(ctx, stays); err != nil || len(health.Warnings()) > 0 {
		t.Errorf("it is there again: %v, %v", err, health.Warnings())
	}
	where := d.URI(f)
	if place, err := d.Put(ctx, f); err != nil || !strings.HasSuffix(where, place) {
		t.Errorf("%q, %v, told as %q", place, err, where)
	} else if err := d.Remove(ctx, place); err != nil {
		t.Error(err)
	}
	if err := d.Close(); err != nil {
		t.Error(err)
	}
}
