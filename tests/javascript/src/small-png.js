// Pictures with a palette: a page has few colours but for the edges of its letters, and those may be the nearest of them.

import { crc32, deflateSync } from "node:zlib";

const COLOURS = 160;

/** In a browser, which can read pictures: size, palette and one byte for each pixel. */
const indexed = async ([source, colours]) => {
  const bytes = Uint8Array.from(atob(source), (letter) => letter.charCodeAt(0));
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/png" }));
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0);
  const pixels = new Uint32Array(context.getImageData(0, 0, bitmap.width, bitmap.height).data.buffer);
  const counts = new Map();
  for (const pixel of pixels) counts.set(pixel, (counts.get(pixel) ?? 0) + 1);
  const palette = [...counts].sort((a, b) => b[1] - a[1]).slice(0, colours).map(([pixel]) => pixel);
  const parts = (pixel) => [pixel & 255, (pixel >> 8) & 255, (pixel >> 16) & 255];
  const nearest = new Map(palette.map((pixel, index) => [pixel, index]));
  const find = (pixel) => {
    const [r, g, b] = parts(pixel);
    let [best, least] = [0, Infinity];
    palette.forEach((other, index) => {
      const [x, y, z] = parts(other);
      const distance = (r - x) ** 2 + (g - y) ** 2 + (b - z) ** 2;
      if (distance < least) [best, least] = [index, distance];
    });
    nearest.set(pixel, best);
    return best;
  };
  let text = "";
  for (const pixel of pixels) text += String.fromCharCode(nearest.get(pixel) ?? find(pixel));
  return { width: bitmap.width, height: bitmap.height, palette: palette.flatMap(parts), pixels: btoa(text) };
};

const chunk = (kind, data) => {
  const body = Buffer.concat([Buffer.from(kind, "latin1"), data]);
  const [length, check] = [Buffer.alloc(4), Buffer.alloc(4)];
  length.writeUInt32BE(data.length);
  check.writeUInt32BE(crc32(body));
  return Buffer.concat([length, body, check]);
};

/** The same picture with a palette. */
export const smallPng = async (browser, png) => {
  const page = await browser.newPage();
  const { width, height, palette, pixels } = await page.evaluate(indexed, [png.toString("base64"), COLOURS]);
  await page.close();
  const lines = Buffer.alloc((width + 1) * height);
  const bytes = Buffer.from(pixels, "base64");
  // Each line begins with its filter: none.
  for (let y = 0; y < height; y += 1) bytes.copy(lines, y * (width + 1) + 1, y * width, (y + 1) * width);
  const header = Buffer.alloc(13);
  header.writeUInt32BE(width, 0);
  header.writeUInt32BE(height, 4);
  header.set([8, 3, 0, 0, 0], 8);
  return Buffer.concat([
    Buffer.from([0x89, 0x50, 0x4e, 0x47, 0x0d, 0x0a, 0x1a, 0x0a]),
    chunk("IHDR", header),
    chunk("PLTE", Buffer.from(palette)),
    chunk("IDAT", deflateSync(lines, { level: 9 })),
    chunk("IEND", Buffer.alloc(0)),
  ]);
};
