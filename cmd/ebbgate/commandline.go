package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// groups makes the commands that only hold others refuse words that name none
// of them: cobra prints their help and takes it for done.
func groups(cmd *cobra.Command) {
	for _, c := range cmd.Commands() {
		groups(c)
	}
	if !cmd.HasSubCommands() || cmd.Runnable() {
		return
	}
	cmd.SuggestionsMinimumDistance = 2
	cmd.Args = func(cmd *cobra.Command, args []string) error {
		if len(args) > 0 {
			return unknownCommand(cmd, args[0])
		}
		return nil
	}
	cmd.RunE = func(cmd *cobra.Command, _ []string) error { return cmd.Help() }
}

// groupUsage is cobra's usage text, in which a group is called with a command
// only.
func groupUsage(root *cobra.Command) string {
	return strings.Replace(root.UsageTemplate(), "{{if .Runnable}}", "{{if and .Runnable (not .HasAvailableSubCommands)}}", 1)
}

// unknownCommand is the error about a word where a command of group belongs. It
// names the commands that the word begins, or else those that it resembles.
func unknownCommand(group *cobra.Command, word string) error {
	near := group.SuggestionsFor(word)
	begun := slices.DeleteFunc(slices.Clone(near), func(name string) bool { return !strings.HasPrefix(name, word) })
	if len(begun) > 0 {
		near = begun
	}
	if len(near) == 0 {
		return fmt.Errorf("unknown command %q for %s", word, group.CommandPath())
	}
	return fmt.Errorf("unknown command %q for %s (did you mean %s?)", word, group.CommandPath(), strings.Join(near, " or "))
}

// flagError is an error about flags; a word before them that is no command is
// the worse mistake.
func flagError(cmd *cobra.Command, err error) error {
	if words := cmd.Flags().Args(); cmd.HasSubCommands() && len(words) > 0 {
		return unknownCommand(cmd, words[0])
	}
	return err
}

// noArguments is the Args of a command that takes flags only.
func noArguments(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return nil
	}
	if cmd.Flags().Lookup("config") != nil {
		return fmt.Errorf("%s takes no argument %q; a configuration is named by --config", cmd.CommandPath(), args[0])
	}
	return fmt.Errorf("%s takes no argument %q", cmd.CommandPath(), args[0])
}

// newHelpCommand is "ebbgate help": cobra's own takes any word for done.
func newHelpCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "help [COMMAND]",
		Short: "Explain a command",
		RunE: func(cmd *cobra.Command, args []string) error {
			about, rest, err := cmd.Root().Find(args)
			if err != nil {
				return err
			}
			if len(rest) > 0 && about.HasSubCommands() {
				return &exitError{exitInvalid, fmt.Errorf("%w; see %s --help", unknownCommand(about, rest[0]), about.CommandPath())}
			}
			about.InitDefaultHelpFlag()
			about.InitDefaultVersionFlag()
			return about.Help()
		},
	}
}
