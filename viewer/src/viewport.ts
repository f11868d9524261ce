// One radiograph on Cornerstone3D: grey values, window and level, zoom, pan, and the map between
// image pixels and the screen. Knows no finding.
//
// Points are counted from pixel edges, as boxes are: the first pixel is 0, 0 to 1, 1. Cornerstone
// counts from pixel centres.
import { Enums, RenderingEngine, cache, imageLoader, init, metaData, utilities, type StackViewport, type Types } from "@cornerstonejs/core";
import type { Pixels } from "./api";

export type Point2 = [number, number];
export interface Window { lower: number; upper: number }

const SCHEME = "hilum";
const LARGEST = 16; // screen pixels a pixel may get, times the fitted size
const ROOM = 65536; // grey values
const held = new Map<string, { pixels: Pixels; aspect: number }>();
let engine: RenderingEngine | null = null, count = 0;

/** Draws in `host`; calls `moved` whenever what is seen has changed. */
export class Viewport {
  private readonly id = `viewport-${++count}`;
  private readonly view: StackViewport;
  private readonly watcher: ResizeObserver;
  private image = "";
  private fitted: Window = { lower: 0, upper: ROOM - 1 };
  private now: Window = { lower: 0, upper: ROOM - 1 };
  private negative = false;
  private whole = true; // nobody has zoomed or moved it
  private size: Point2 = [0, 0];
  private aspect = 1;

  constructor(private readonly host: HTMLDivElement, private readonly moved: () => void) {
    start();
    engine!.enableElement({ viewportId: this.id, type: Enums.ViewportType.STACK, element: host });
    this.view = engine!.getViewport(this.id) as StackViewport;
    host.addEventListener(Enums.Events.CAMERA_MODIFIED, moved);
    host.addEventListener(Enums.Events.IMAGE_RENDERED, moved);
    this.watcher = new ResizeObserver(() => {
      if (!this.image || !host.clientWidth || !host.clientHeight) return;
      engine!.resize(true, true);
      if (this.whole) this.fit();
      this.moved();
    });
    this.watcher.observe(host);
  }

  /** Shows an image; `spacing` (row, column) only gives the shape of its pixels. */
  async show(id: string, pixels: Pixels, spacing: Point2 | null): Promise<void> {
    this.forget();
    this.image = `${SCHEME}:${id}-${this.id}`;
    this.size = [pixels.columns, pixels.rows];
    this.aspect = spacing ? spacing[0] / spacing[1] : 1;
    held.set(this.image, { pixels, aspect: this.aspect });
    this.fitted = contrastOf(pixels.values);
    await this.view.setStack([this.image]);
    this.negative = false;
    this.setWindow(this.fitted);
    this.fit();
  }

  get inverted(): boolean {
    return this.negative;
  }

  set inverted(value: boolean) {
    this.negative = value;
    this.view.setProperties({ invert: value });
    this.view.render();
  }

  get window(): Window {
    return this.now;
  }

  setWindow({ lower, upper }: Window): void {
    const width = Math.max(ROOM / 256, upper - lower), middle = Math.min(ROOM, Math.max(0, (lower + upper) / 2));
    this.now = { lower: middle - width / 2, upper: middle + width / 2 };
    this.view.setProperties({ voiRange: this.now });
    this.view.render();
    this.moved();
  }

  /** Brighter and harder by parts of the whole range. */
  changeWindow(level: number, width: number): void {
    const half = ((this.now.upper - this.now.lower) / 2) * Math.exp(width), middle = (this.now.upper + this.now.lower) / 2 + level * ROOM;
    this.setWindow({ lower: middle - Math.min(half, ROOM), upper: middle + Math.min(half, ROOM) });
  }

  /** Contrast, inversion and place as at first. */
  reset(): void {
    this.inverted = false;
    this.setWindow(this.fitted);
    this.fit();
  }

  get zoom(): number {
    return this.view.getZoom();
  }

  /** Larger by a factor; the point of the host stays under the pointer. */
  magnify(by: number, at: Point2 = [this.host.clientWidth / 2, this.host.clientHeight / 2]): void {
    const zoom = Math.min(LARGEST, Math.max(0.5, this.view.getZoom() * by));
    const before = this.view.canvasToWorld(at);
    this.view.setZoom(zoom);
    this.shift(before, this.view.canvasToWorld(at));
  }

  pan(dx: number, dy: number): void {
    this.shift(this.view.canvasToWorld([0, 0]), this.view.canvasToWorld([dx, dy]));
  }

  /** Image point -> point of the host, px. */
  toHost([x, y]: Point2): Point2 {
    return this.view.worldToCanvas([x - 0.5, (y - 0.5) * this.aspect, 0]) as Point2;
  }

  /** Point of the host -> image point, kept inside the image. */
  toImage(at: Point2): Point2 {
    const [x, y] = this.view.canvasToWorld(at);
    return [Math.min(this.size[0], Math.max(0, x! + 0.5)), Math.min(this.size[1], Math.max(0, y! / this.aspect + 0.5))];
  }

  /** Grey value in [0, 1] at an image point. */
  grey([x, y]: Point2): number | null {
    const pixels = held.get(this.image)?.pixels;
    const value = pixels?.values[Math.min(pixels.rows - 1, Math.floor(y)) * pixels.columns + Math.min(pixels.columns - 1, Math.floor(x))];
    return value === undefined ? null : value / (ROOM - 1);
  }

  destroy(): void {
    this.watcher.disconnect();
    this.forget();
    engine?.disableElement(this.id);
  }

  private fit(): void {
    this.view.resetCamera();
    this.whole = true;
    this.view.render();
  }

  private shift(from: Types.Point3, to: Types.Point3): void {
    const { focalPoint, position } = this.view.getCamera();
    if (!focalPoint || !position) return;
    const moved = (point: Types.Point3): Types.Point3 => [point[0] + from[0] - to[0], point[1] + from[1] - to[1], point[2]];
    this.whole = false;
    this.view.setCamera({ focalPoint: moved(focalPoint), position: moved(position) });
    this.view.render();
  }

  private forget(): void {
    if (!this.image) return;
    held.delete(this.image);
    if (cache.getImageLoadObject(this.image)) cache.removeImageLoadObject(this.image, { force: true });
    this.image = "";
  }
}

/** Between the percentiles 0.5 and 99.5: what a raw image without a window needs to be seen. */
export function contrastOf(values: Uint16Array): Window {
  const bins = new Uint32Array(4096);
  for (let at = 0; at < values.length; at += 1) bins[values[at]! >> 4]! += 1;
  const find = (share: number): number => {
    let left = share * values.length, bin = 0;
    while (bin < bins.length - 1 && (left -= bins[bin]!) > 0) bin += 1;
    return bin * 16;
  };
  const lower = find(0.005), upper = find(0.995) + 15;
  return upper - lower > ROOM / 64 ? { lower, upper } : { lower: 0, upper: ROOM - 1 };
}

function start(): void {
  if (engine) return;
  init({ rendering: { preferSizeOverAccuracy: false } } as Parameters<typeof init>[0]);
  imageLoader.registerImageLoader(SCHEME, (id: string) => ({ promise: Promise.resolve(imageOf(id)) as never }));
  metaData.addProvider(facts, 100);
  engine = new RenderingEngine("hilum");
}

function imageOf(imageId: string): Types.IImage {
  const { pixels, aspect } = held.get(imageId)!;
  const { rows, columns, values } = pixels;
  const voxelManager = utilities.VoxelManager.createImageVoxelManager({ width: columns, height: rows, numberOfComponents: 1, scalarData: values });
  return {
    imageId, rows, columns, height: rows, width: columns, color: false, rgba: false, numberOfComponents: 1,
    minPixelValue: 0, maxPixelValue: ROOM - 1, slope: 1, intercept: 0, windowCenter: ROOM / 2, windowWidth: ROOM,
    voiLUTFunction: Enums.VOILUTFunctionType.LINEAR, getPixelData: () => values, getCanvas: () => document.createElement("canvas"),
    columnPixelSpacing: 1, rowPixelSpacing: aspect, invert: false, photometricInterpretation: "MONOCHROME2",
    sizeInBytes: values.byteLength, dataType: "Uint16Array", voxelManager,
  };
}

function facts(kind: string, imageId: unknown): unknown {
  const known = typeof imageId === "string" ? held.get(imageId) : undefined;
  if (!known) return undefined;
  const { rows, columns } = known.pixels;
  if (kind === "imagePixelModule")
    return { bitsAllocated: 16, bitsStored: 16, highBit: 15, samplesPerPixel: 1, pixelRepresentation: 0, photometricInterpretation: "MONOCHROME2" };
  if (kind === "generalSeriesModule") return { modality: "DX" };
  if (kind === "imagePlaneModule")
    return {
      rows, columns, rowPixelSpacing: known.aspect, columnPixelSpacing: 1, pixelSpacing: [known.aspect, 1], imagePositionPatient: [0, 0, 0],
      rowCosines: [1, 0, 0], columnCosines: [0, 1, 0], imageOrientationPatient: [1, 0, 0, 0, 1, 0], frameOfReferenceUID: "hilum",
    };
  return undefined;
}
