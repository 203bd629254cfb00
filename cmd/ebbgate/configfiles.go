package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os/user"
	"time"

	"github.com/ebbgate/ebbgate/bridge"
	"github.com/ebbgate/ebbgate/configs"
	"github.com/ebbgate/ebbgate/upstream"
	"github.com/ebbgate/ebbgate/upstream/filetransfer"
	"github.com/ebbgate/ebbgate/upstream/folder"
	"github.com/ebbgate/ebbgate/upstream/mqtt"
	"github.com/ebbgate/ebbgate/upstream/s3"
)

// checkFiles asks where files go to whether it would take any. Nothing is left there.
func checkFiles(ctx context.Context, w io.Writer, cfg *configs.Config) error {
	f := cfg.FileTransfer
	if !f.Enabled {
		return nil
	}
	var takes string
	var err error
	switch f.Export.To {
	case configs.ExportS3:
		takes, err = checkBucket(ctx, f.Export.S3)
	case configs.ExportUpstream:
		takes, err = checkFileUpstream(ctx, cfg, f.Export.Upstream.Upstream)
	case configs.ExportFolder:
		takes, err = checkFolder(f.Export.Folder)
	}
	if err == nil {
		_, err = fmt.Fprintln(w, takes)
	}
	return err
}

// checkBucket tries a bucket, with the rights that an export needs and no others.
func checkBucket(ctx context.Context, o s3.Options) (string, error) {
	store, err := s3.Open(o, nil, slog.New(slog.DiscardHandler), s3.Hooks{}) // nothing is kept of a check
	if err != nil {
		return "", err
	}
	defer func() { _ = store.Close() }() // never fails
	ctx, cancel := context.WithTimeout(ctx, o.Timeout)
	defer cancel()
	if err := store.Check(ctx); err != nil {
		err = fmt.Errorf("files to S3: %w", err)
		if bridge.KindOf(err) == bridge.NotAuthorized {
			return "", &exitError{exitRefused, err}
		}
		return "", err
	}
	takes := "bucket " + o.Bucket + " takes files"
	if !o.OwnKeys() {
		takes += fmt.Sprintf("\nnote: they are called %s there; when another gateway has this bucket too, and devices with equal ids, only the first of two files that are called alike is taken: begin file_transfer.export.s3.key with a level of its own for each, such as site-7/", o.Key)
	}
	return takes, nil
}

// checkFolder tries the folder, as who runs the check, which need not be who runs the
// gateway.
func checkFolder(o folder.Options) (string, error) {
	if err := folder.Check(o); err != nil {
		return "", &exitError{exitRefused, err}
	}
	as := "this user"
	if u, err := user.Current(); err == nil {
		as = u.Username
	}
	return fmt.Sprintf("folder %s takes files from %s", o.Dir, as), nil
}

// fileTalkPatience is how long a check of an upstream that takes files may last: the
// login, and an answer to a command.
const fileTalkPatience = 30 * time.Second

// checkFileUpstream tries an upstream by the ways that files go, until one leads there.
func checkFileUpstream(ctx context.Context, cfg *configs.Config, name string) (takes string, err error) {
	return fileWays(name, cfg.Upstreams[name].Legs(), func(l configs.Upstream) error { return checkFileTalk(ctx, cfg, name, l) })
}

// fileWays tries the ways of an upstream by which files go, until one has answered.
func fileWays(name string, legs []configs.Upstream, try func(configs.Upstream) error) (takes string, err error) {
	err = bridge.Errorf(bridge.OpExport, bridge.TopicInvalid, "upstream %s has no way by MQTT; name another in file_transfer.export.upstream", name)
	for _, l := range legs {
		if _, https := l.HTTPS(); https {
			continue
		}
		if err = try(l); err == nil || bridge.KindOf(err) != bridge.Unavailable {
			break // it has answered
		}
	}
	if err != nil {
		err = fmt.Errorf("files: %w", err)
		if bridge.KindOf(err) != bridge.Unavailable {
			err = &exitError{exitRefused, err}
		}
		return "", err
	}
	return "upstream " + name + " takes files", nil
}

// checkFileTalk asks on a connection such as files have, by one way.
func checkFileTalk(ctx context.Context, cfg *configs.Config, name string, u configs.Upstream) error {
	ctx, cancel := context.WithTimeout(ctx, fileTalkPatience)
	defer cancel()
	by, log := leg{Upstream: u, name: name}, slog.New(slog.DiscardHandler)
	clientID := u.MQTT.ClientID + "-" + fileService
	link := &talkLink{}
	to := filetransfer.New(cfg.FileTransfer.Export.Upstream, filetransfer.Deps{Gateway: cfg.Gateway.ID, Link: link, Log: log})
	said := "no connection"
	hooks, refused := deviceHooks(func(text string) { said = text })
	hooks.Carried = func(int) {}
	link.Talk = by.talk(fileService, clientID, []string{filetransfer.ResponseFilter(clientID)}, func(m *bridge.Message, _ int, ack func()) {
		to.Heard(m)
		ack()
	}, upstream.Shared{}, log, hooks)
	err := conversing(ctx, link.Talk, refused, func(ctx context.Context) error {
		if err := talking(ctx, link.Talk); err != nil {
			return err
		}
		return to.Check(ctx)
	})
	if errors.Is(err, context.DeadlineExceeded) {
		return bridge.Errorf(bridge.OpExport, bridge.Unavailable, "upstream %s as %s: %s", name, clientID, said)
	}
	return err
}

// talking waits for a connection.
func talking(ctx context.Context, talk *mqtt.Talk) error {
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for !talk.Up() {
		select {
		case <-look.C:
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}
