// Package folder is a folder of this machine where files of devices go: a
// [bridge.FileTarget].
//
// A file appears under its name whole and synced or not at all, after its
// manifest. Where the file on its way can be taken by its name, it is: it is
// written to the disk once. All names are resolved below the folder, so that a
// symbolic link cannot lead out of it (F24, F26). EMQX's layout is there for what
// reads EMQX's exports (F51), a template for everybody else.
package folder
