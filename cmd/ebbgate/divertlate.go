package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"sync"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/upstream/folder"
)

// warningExportAway is that of a folder of exports that could not be opened at the
// start: what comes later of the same folder, the exporter tells.
const warningExportAway = "files-export-away"

// lateFolder is the folder of exports, which need not be there when the gateway
// starts: a disk that is mounted later, or for reading only, stops no messages.
// Files, and the messages of routes with divert, wait until it is there.
type lateFolder struct {
	o      folder.Options
	log    *slog.Logger
	health *bridge.Health
	uri    func(*bridge.File) string
	room   func(n int64) error // for copies

	mu sync.Mutex
	at *folder.Folder // nil: not there yet
}

var _ fileTarget = (*lateFolder)(nil)

// openFolder opens the folder, or says why it waits. What is wrong with the options
// is an error, as no waiting mends it.
func openFolder(o folder.Options, room func(n int64) error, log *slog.Logger, health *bridge.Health) (*lateFolder, error) {
	uri, err := folder.URIs(o)
	if err != nil {
		return nil, err
	}
	d := &lateFolder{o: o, room: room, log: log, health: health, uri: uri}
	if _, err := d.folder(); err != nil && bridge.KindOf(err) != bridge.Unavailable {
		return nil, err
	}
	return d, nil
}

// folder is the folder, opened now if it was not there before.
func (d *lateFolder) folder() (*folder.Folder, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at != nil {
		return d.at, nil
	}
	at, err := folder.Open(d.o, d.log)
	if _, ofDisk := errors.AsType[*fs.PathError](err); ofDisk {
		err = bridge.Errorf(bridge.OpExport, bridge.Unavailable, "%w: mount what file_transfer.export.dir names, for writing, and give it to the user of the gateway", err)
		d.health.Raise(bridge.Warning{Code: warningExportAway, Severity: bridge.Degraded, Text: fmt.Sprintf(
			"files cannot be exported yet: %v; files and messages are taken and kept, and it is tried again every minute", err)})
	}
	if err != nil {
		return nil, err
	}
	at.Keep(d.room)
	d.at = at
	d.health.Clear(warningExportAway)
	return at, nil
}

// Put implements bridge.FileTarget.
func (d *lateFolder) Put(ctx context.Context, f *bridge.File) (string, error) {
	at, err := d.folder()
	if err != nil {
		return "", err
	}
	return at.Put(ctx, f)
}

// Abandon implements bridge.FileTarget. It is called every minute, and so finds a
// folder that is there again before a file asks for it; of one that is away the
// warning has told.
func (d *lateFolder) Abandon(ctx context.Context, stays func(clientID, fileID string) bool) error {
	at, err := d.folder()
	if bridge.KindOf(err) == bridge.Unavailable {
		return nil
	}
	if err != nil {
		return err
	}
	return at.Abandon(ctx, stays)
}

// Remove implements bridge.FileTarget.
func (d *lateFolder) Remove(ctx context.Context, place string) error {
	at, err := d.folder()
	if err != nil {
		return err
	}
	return at.Remove(ctx, place)
}

// Open implements bridge.FileTarget.
func (d *lateFolder) Open(ctx context.Context, place string) (io.ReadCloser, error) {
	at, err := d.folder()
	if err != nil {
		return nil, err
	}
	return at.Open(ctx, place)
}

// URI is the address of a file's place, also while nobody can look there.
func (d *lateFolder) URI(f *bridge.File) string { return d.uri(f) }

// Close gives the folder back.
func (d *lateFolder) Close() error {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.at == nil {
		return nil
	}
	return d.at.Close()
}
