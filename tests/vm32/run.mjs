// Runs one portable test module on the 32-bit MicroPython virtual machine (WebAssembly):
//   node run.mjs MODULE_FILE HEAP_BYTES NAME FOLDER...
// The *.py, *.mpy and *.json files of each FOLDER are copied into the machine's file system under the folder's last name.
import { readdirSync, readFileSync } from "node:fs";
import { basename, join, resolve } from "node:path";
import { pathToFileURL } from "node:url";

const [moduleFile, heapBytes, name, ...folders] = process.argv.slice(2);
const { loadMicroPython } = await import(pathToFileURL(resolve(moduleFile)).href);
const write = (line) => process.stdout.write(line + "\n");
const machine = await loadMicroPython({ heapsize: Number(heapBytes), pystack: 16384, stdout: write, stderr: write });

function copy(source, target) {
  machine.FS.mkdirTree(target);
  for (const entry of readdirSync(source, { withFileTypes: true })) {
    if (entry.isDirectory() && entry.name !== "__pycache__") copy(join(source, entry.name), `${target}/${entry.name}`);
    else if (/\.(m?py|json)$/.test(entry.name)) machine.FS.writeFile(`${target}/${entry.name}`, readFileSync(join(source, entry.name)));
  }
}
for (const folder of folders) copy(folder, "/" + basename(resolve(folder)));

// This machine collects garbage only when control is back here, so every step is a call of its own.
machine.runPython(`
import sys
sys.path[:] = ["/firmware", "/tests/portable", "/tests"]
import support
session = support.Session(${JSON.stringify(name)})
`);
do machine.runPython("more = session.step()");
while (machine.globals.get("more"));
