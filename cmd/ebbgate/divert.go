package main

import (
	"context"
	"encoding/hex"
	"errors"
	"net/url"
	"path"
	"strconv"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/localbroker/upload"
	"github.com/ebbgate/ebbgate/upstream"
)

// handed is how messages that are too large for their upstream become files: by
// the commands that their devices could have sent themselves. So they are synced,
// bounded, counted and exported as any file is, and an operator sees them among
// the transfers.
type handed struct {
	take    func(r upload.Request, done func(error))
	segment int
	store   string // where files grow: file_transfer.dir
	uri     func(*bridge.File) string
}

// path is file transfer as the steps of routes use it, nil when it is not enabled.
func (f *files) path() bridge.FilePath {
	if f == nil {
		return nil
	}
	return f.handed
}

// newHanded makes it, for files that go where o says.
func newHanded(service *upload.Service, target fileTarget, o configs.FileTransfer) *handed {
	h := &handed{segment: int(o.MaxSegment), store: o.Dir, uri: func(*bridge.File) string { return "" }}
	h.take = func(r upload.Request, done func(error)) { service.Take(r, done) }
	if t, ok := target.(interface{ URI(*bridge.File) string }); ok {
		h.uri = t.URI
	}
	if key, err := upstream.ParseFilePath(o.Export.S3.Key); err == nil && o.Export.To == configs.ExportS3 {
		h.uri = func(f *bridge.File) string {
			return (&url.URL{Scheme: "s3", Host: o.Export.S3.Bucket, Path: path.Join("/", key(f))}).String()
		}
	}
	return h
}

// Hand implements bridge.FilePath. A file that is finished already, by an attempt
// whose pointer a crash has cut off, is found by its fin.
func (h *handed) Hand(ctx context.Context, f *bridge.File) (uri string, err error) {
	root := "$file/" + f.FileID
	fin := root + "/fin/" + strconv.FormatInt(f.Size, 10) + "/" + hex.EncodeToString(f.SHA256[:])
	err = h.ask(ctx, f.ClientID, fin, nil)
	if fault, ok := errors.AsType[*upload.Fault](err); ok && (fault.Word == "incomplete" || fault.Word == "read_segment") {
		if err = h.send(ctx, f, root); err == nil {
			err = h.ask(ctx, f.ClientID, fin, nil)
		}
	}
	if err != nil {
		return "", h.kindOfFault(err)
	}
	return h.uri(f), nil
}

// send gives a file's description and content. What an earlier attempt has given is
// recognised, and not kept twice.
func (h *handed) send(ctx context.Context, f *bridge.File, root string) error {
	if err := h.ask(ctx, f.ClientID, root+"/init", f.Meta); err != nil {
		return err
	}
	for at := int64(0); at < f.Size; at += int64(h.segment) {
		piece := make([]byte, min(f.Size-at, int64(h.segment)))
		if n, err := f.Content.ReadAt(piece, at); n < len(piece) {
			return err
		}
		if err := h.ask(ctx, f.ClientID, root+"/"+strconv.FormatInt(at, 10), piece); err != nil {
			return err
		}
	}
	return nil
}

// ask carries out one command, and waits for its answer. No response is published:
// the device has not asked.
func (h *handed) ask(ctx context.Context, client, topic string, payload []byte) error {
	answer := make(chan error, 1)
	h.take(upload.Request{
		ClientID: client, Message: &bridge.Message{Topic: topic, Payload: payload, QoS: 1}, After: func(func()) {},
	}, func(err error) { answer <- err })
	select {
	case err := <-answer:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// kindOfFault says of a refusal whether another attempt would fare better. What is
// not known may.
func (h *handed) kindOfFault(err error) error {
	fault, ok := errors.AsType[*upload.Fault](err)
	if !ok {
		return err
	}
	switch fault.Word {
	case "efbig":
		return bridge.Errorf(bridge.OpDivert, bridge.TooLarge, "%w: larger than file_transfer.max_file", fault)
	case "filemeta_conflict", "invalid_filemeta", "invalid_fileid", "enametoolong", "checksum_mismatch":
		return bridge.Errorf(bridge.OpDivert, bridge.PayloadInvalid, "%w", fault)
	case "edquot":
		return bridge.Errorf(bridge.OpDivert, bridge.Full, "%w: the device has as many files, or bytes, as file_transfer.client_transfers, waiting and max_client_size allow: they wait for their export", fault)
	case "enospc":
		return bridge.Errorf(bridge.OpDivert, bridge.Full, "%w: file_transfer.transfers, waiting, max_size or the disk's headroom is reached", fault)
	case "enoent", "enotdir", "eisdir", "eexist", "enodev", "enotconn", "estale": // the fourth: a link leads to where nothing is
		return bridge.Errorf(bridge.OpDivert, bridge.Unavailable, "%w: the folder of file_transfer.dir, %s, or what was in it, is gone: mount it or make it again", fault, h.store)
	case "eacces", "eperm", "erofs":
		return bridge.Errorf(bridge.OpDivert, bridge.Unavailable, "%w: the folder of file_transfer.dir, %s, cannot be written: mount it for writing, and give it to the user of the gateway", fault, h.store)
	case "eio":
		return bridge.Errorf(bridge.OpDivert, bridge.Unavailable, "%w: the disk of file_transfer.dir, %s, fails: look at the kernel's log, and replace it", fault, h.store)
	}
	return bridge.Errorf(bridge.OpDivert, bridge.Unavailable, "%w", fault)
}
