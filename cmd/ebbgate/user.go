package main

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"

	"github.com/spf13/cobra"
	"golang.org/x/term"

	"github.com/ebbgate/ebbgate/localbroker"
)

func newUserCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "user",
		Short: "Make logins for listeners with auth: password",
	}
	cmd.AddCommand(newUserHashCommand())
	return cmd
}

func newUserHashCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "hash [NAME]",
		Short: "Print the bcrypt hash of a password, or with NAME the line of a users file",
		Long: `Print the bcrypt hash of a password, as the file has it that a listener with
auth: password names as its users. With NAME the whole line of that file is
printed. The password is asked for on the terminal, twice and without echo;
without a terminal it is the first line of standard input.`,
		Example: `  ebbgate user hash panel >> users.yaml
  pass show site/panel | ebbgate user hash panel >> users.yaml`,
		Args: cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			password, err := askPassword(cmd.Context(), cmd.InOrStdin(), cmd.ErrOrStderr())
			if err != nil {
				return &exitError{exitInvalid, err}
			}
			text, err := localbroker.HashPassword(password)
			if err != nil {
				return &exitError{exitInvalid, err}
			}
			text += "\n"
			if len(args) > 0 {
				if text, err = localbroker.UserLine(args[0], text[:len(text)-1]); err != nil {
					return &exitError{exitInvalid, err}
				}
			}
			_, err = io.WriteString(cmd.OutOrStdout(), text)
			return err
		},
	}
}

// passwordLine bounds the first line of standard input.
const passwordLine = 4 << 10

// askPassword reads a password from a terminal, twice and without echo, or else
// from the first line of in.
func askPassword(ctx context.Context, in io.Reader, prompts io.Writer) ([]byte, error) {
	file, ok := in.(*os.File)
	if !ok || !term.IsTerminal(int(file.Fd())) {
		line, err := bufio.NewReader(io.LimitReader(in, passwordLine)).ReadBytes('\n')
		if err != nil && !errors.Is(err, io.EOF) {
			return nil, fmt.Errorf("read the password: %w", err)
		}
		return bytes.TrimRight(line, "\r\n"), nil
	}
	first, err := readHidden(ctx, int(file.Fd()), prompts, "Password: ")
	if err != nil {
		return nil, err
	}
	again, err := readHidden(ctx, int(file.Fd()), prompts, "Again: ")
	if err == nil && !bytes.Equal(first, again) {
		err = errors.New("the two passwords differ: type the same twice")
	}
	return first, err
}

// readHidden reads a line without echo. Ctrl-C gives the terminal back as it
// was; the read that nothing interrupts ends with the process.
func readHidden(ctx context.Context, fd int, prompts io.Writer, prompt string) ([]byte, error) {
	was, err := term.GetState(fd)
	if err != nil {
		return nil, fmt.Errorf("read the password: %w", err)
	}
	_, _ = io.WriteString(prompts, prompt)
	defer func() { _, _ = io.WriteString(prompts, "\n") }() // the key Enter was not echoed
	type answer struct {
		line []byte
		err  error
	}
	typed := make(chan answer, 1)
	go func() {
		line, err := term.ReadPassword(fd)
		typed <- answer{line, err}
	}()
	select {
	case a := <-typed:
		if a.err != nil {
			return nil, fmt.Errorf("read the password: %w", a.err)
		}
		return a.line, nil
	case <-ctx.Done():
		return nil, errors.Join(errors.New("no password was given"), term.Restore(fd, was))
	}
}
