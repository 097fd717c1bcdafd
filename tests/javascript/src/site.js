// Serves a page and its modules on localhost as they lie in this folder, packages included: an import map instead of a
// bundler.

import { readFileSync } from "node:fs";
import { createServer } from "node:http";
import { dirname, join, relative } from "node:path";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("..", import.meta.url));
const CONDITIONS = ["browser", "import", "module", "default"];
// At the beginning of a line: comments have examples of imports.
const IMPORT = /^(?:(?:import|export|\})[^\n]*\bfrom\s*|import\s*)["']([^"'\s]+)["']/gm;

/** The file that a package's name stands for in a browser. */
const resolve = (specifier) => {
  const [, name, subpath] = /^((?:@[^/]+\/)?[^/]+)(.*)$/.exec(specifier);
  const folder = join(ROOT, "node_modules", name);
  const { exports } = JSON.parse(readFileSync(join(folder, "package.json"), "utf8"));
  let target = exports[`.${subpath}`];
  while (typeof target === "object") target = target[CONDITIONS.find((condition) => condition in target)];
  if (target === undefined) throw new Error(`${specifier} has no module for a browser`);
  return join(folder, target);
};

/** All packages that a module and what it imports name, each with its address. */
const importMap = (module) => {
  const imports = {};
  const seen = new Set();
  const follow = (file) => {
    if (seen.has(file)) return;
    seen.add(file);
    for (const [, specifier] of readFileSync(file, "utf8").matchAll(IMPORT)) {
      const target = specifier.startsWith(".") ? join(dirname(file), specifier) : resolve(specifier);
      if (!specifier.startsWith(".")) imports[specifier] = `/${relative(ROOT, target)}`;
      follow(target);
    }
  };
  follow(join(ROOT, module));
  return { imports };
};

/** A server of one page that runs `module`; its address. */
export const serveSite = async (module) => {
  const map = JSON.stringify(importMap(module));
  const page = `<!doctype html><meta charset="utf-8"><title>Layer Minus</title><link rel="icon" href="data:,">
<script type="importmap">${map}</script><script type="module" src="/${module}"></script>`;
  const server = createServer((request, response) => {
    const { pathname } = new URL(request.url, "http://localhost");
    const file = join(ROOT, pathname);
    try {
      const isModule = file.startsWith(ROOT) && file.endsWith(".js");
      const [type, body] = isModule ? ["text/javascript", readFileSync(file)] : ["text/html", page];
      response.writeHead(isModule || pathname === "/" ? 200 : 404, { "content-type": type }).end(body);
    } catch {
      response.writeHead(404).end();
    }
  });
  await new Promise((listening) => server.listen(0, "127.0.0.1", listening));
  return { url: `http://localhost:${server.address().port}/`, close: () => server.close() };
};
