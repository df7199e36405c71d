"""The table of everything the sample sells: 19 categories, 48 sub-categories."""

from fashionvl.catalogue.sample.article import Draw, Kind
from fashionvl.catalogue.sample.bags import backpack, shoulder_bag, tote_bag
from fashionvl.catalogue.sample.hats import beanie, cap, sun_hat
from fashionvl.catalogue.sample.lower import skirt, trousers
from fashionvl.catalogue.sample.pairs import gloves, mittens, socks
from fashionvl.catalogue.sample.shoes import boots, court_shoes, sandals, trainers
from fashionvl.catalogue.sample.small import belt, bow_tie, scarf, sunglasses, tie, umbrella
from fashionvl.catalogue.sample.upper import upper
from fashionvl.catalogue.sample.whole import dungarees, jumpsuit, swimsuit

_SOME = ("solid",) * 4
_JERSEY = (*_SOME, "striped", "dotted", "melange", "floral", "starry")
_WOVEN = (*_SOME, "striped", "pinstriped", "checked", "dotted", "floral", "zigzag")
_PRINTS = ("solid", "solid", "floral", "dotted", "striped", "leopard", "zigzag", "starry", "checked")
_KNIT = (*_SOME, "striped", "melange", "argyle", "zigzag", "dotted")
_TAILORED = (*_SOME, "pinstriped", "checked", "melange")
_WOMEN = ("women",)
_ALL = ("women", "men", "unisex")
_WARM, _COLD = ("spring", "summer"), ("autumn", "winter")
_COTTON = ("cotton jersey", "organic cotton", "soft cotton", "a cotton blend")
_LIGHT = ("viscose", "crisp cotton", "a linen blend", "cotton poplin", "washed cotton")
_WOOL = ("cable-knit wool", "ribbed cotton", "a fine wool blend", "soft merino wool", "chunky ribbed wool")
_SWEAT = ("sweatshirt fabric", "brushed fleece", "heavy cotton")
_SHELL = ("water-repellent nylon", "recycled polyester", "coated cotton")
_DENIM = ("denim", "stretch denim", "rigid denim")
_LEATHER = ("leather", "imitation leather", "suede")


def _kind(
    category: str,
    name: str,
    nouns: str,
    draw: Draw,
    looks: str,
    materials: tuple[str, ...],
    patterns: tuple[str, ...],
    details: str,
    *,
    genders: tuple[str, ...] = _ALL,
    seasons: tuple[str, ...] = (*_WARM, *_COLD),
    plural: bool = False,
) -> Kind:
    """A row of the table, its lists written as text: "feature: choice, choice; feature: choice"."""
    features = (entry.split(":") for entry in looks.split(";"))
    options = {feature.strip(): _listed(choices) for feature, choices in features}
    return Kind(
        category, name, _listed(nouns), draw, options, materials, patterns, _listed(details), genders, seasons, plural
    )


def _listed(text: str) -> tuple[str, ...]:
    return tuple(" ".join(entry.split()) for entry in text.split(","))


# A choice that stands twice comes twice as often; "none" is a choice too.
# fmt: off
KINDS: tuple[Kind, ...] = (
    _kind("Tops", "T-shirt", "T-shirt, tee", upper, """
        sleeve: short, short, elbow, long; neckline: round, v, boat; neck_edge: none, contrast; fit: slim, regular,
        regular, oversized; length: regular, regular, cropped, long; pocket: none, none, chest; print: none, none,
        star, circle, heart, lightning; hem: plain
    """, _COTTON, _JERSEY, "neckline, sleeve, pocket, star, heart, circle, lightning"),
    _kind("Tops", "Vest top", "vest top, tank top", upper, """
        neckline: round, v, square, scoop; neck_edge: none, contrast; fit: slim, regular; length: regular, cropped,
        long; hem: plain, contrast; pocket: none, none, chest
    """, (*_COTTON, "ribbed cotton"), _JERSEY, "neckline, hem, pocket", seasons=("spring", "summer")),
    _kind("Tops", "Polo shirt", "polo shirt, polo", upper, """
        sleeve: short, short, long; cuff: ribbed, contrast; collar: polo; collar_edge: none, contrast; closure:
        short buttons; fit: slim, regular, regular, oversized; pocket: none, none, chest; hem: plain
    """, ("cotton piqué", *_COTTON),
        ("solid", "solid", "solid", "striped", "melange", "argyle"), "collar, buttons, cuff, pocket"),
    _kind("Shirts & Blouses", "Shirt", "shirt", upper, """
        sleeve: long, long, short; cuff: plain, contrast; collar: shirt, shirt, stand; collar_edge: none, none,
        contrast; closure: buttons; fit: slim, regular, regular, oversized; pocket: none, chest, two chest; hem:
        plain; length: regular, long
    """, (*_LIGHT, "denim"), _WOVEN, "collar, buttons, cuff, pocket"),
    _kind("Shirts & Blouses", "Blouse", "blouse", upper, """
        sleeve: long, elbow, short; sleeve_shape: puffed, wide, none; neckline: round, v; collar: none, peter pan,
        stand; collar_edge: none, contrast; closure: none, short buttons, buttons; hem: plain, frill; cuff: none,
        plain; length: regular, cropped
    """, ("viscose", "satin", "chiffon", "cotton voile"), _PRINTS, "neckline, collar, sleeve, hem", genders=_WOMEN),
    _kind("Knitwear", "Jumper", "jumper, sweater, pullover", upper, """
        sleeve: long; cuff: ribbed, contrast; neckline: round, v, boat; neck_edge: none, contrast; collar: none,
        none, roll; hem: ribbed, ribbed, contrast; fit: slim, regular, regular, oversized; patch: none, none, none,
        elbow
    """, _WOOL, _KNIT, "neckline, cuff, hem, patch, collar", seasons=_COLD),
    _kind("Knitwear", "Cardigan", "cardigan", upper, """
        sleeve: long; cuff: ribbed, contrast; neckline: v, round; closure: buttons, buttons, zip; hem: ribbed,
        contrast; fit: slim, regular, regular, oversized; pocket: none, patch; length: regular, cropped, long
    """, _WOOL, _KNIT, "buttons, cuff, pocket, zip", seasons=_COLD),
    _kind("Sweatshirts", "Hoodie", "hoodie", upper, """
        sleeve: long; cuff: ribbed, contrast; hood: hood; drawstring: none, drawstring; closure: none, zip, half
        zip; pocket: kangaroo, none; hem: ribbed, contrast; fit: slim, regular, regular, oversized
    """, _SWEAT, ("solid", "solid", "solid", "melange", "striped", "starry"), "hood, pocket, zip, cuff, drawstring"),
    _kind("Sweatshirts", "Sweatshirt", "sweatshirt", upper, """
        sleeve: long; cuff: ribbed, contrast; neckline: round; neck_edge: none, contrast; collar: none, none, stand;
        hem: ribbed, contrast; fit: slim, regular, regular, oversized; print: none, star, circle, heart, lightning;
        length: regular, cropped
    """, _SWEAT, ("solid", "solid", "solid", "melange", "striped", "dotted"),
        "neckline, cuff, hem, star, heart, circle, lightning"),
    _kind("Jackets", "Bomber jacket", "bomber jacket, bomber, jacket", upper, """
        sleeve: long; cuff: ribbed, contrast; collar: stand; collar_edge: none, contrast; closure: zip; hem: ribbed,
        contrast; pocket: side, flap, two chest; length: regular, cropped; fit: regular, oversized
    """, (*_SHELL, "satin"),
        ("solid", "solid", "solid", "solid", "floral", "leopard", "starry"),
        "zip, collar, pocket, cuff", seasons=("spring", "autumn")),
    _kind("Jackets", "Blazer", "blazer", upper, """
        sleeve: long; lapel: lapel; collar_edge: none, none, contrast; closure: lapel buttons; pocket: flap, patch,
        none; patch: none, none, elbow; fit: slim, regular, oversized; length: regular, long; hem: plain
    """, ("a wool blend", "twill", "a linen blend"), _TAILORED, "lapel, buttons, pocket, patch"),
    _kind("Jackets", "Gilet", "gilet, body warmer", upper, """
        collar: stand; closure: zip, buttons; pocket: side, patch, flap; hem: plain, contrast; seam: none, yoke;
        fit: regular, oversized
    """, _SHELL, ("solid", "solid", "solid", "checked", "zigzag"), "zip, pocket, collar, buttons", seasons=_COLD),
    _kind("Coats", "Coat", "coat, overcoat", upper, """
        sleeve: long; lapel: lapel; closure: lapel buttons; belt: none, buckle, tie; pocket: flap, patch, side;
        length: thigh, knee, calf; cuff: none, plain; hem: plain; fit: regular, oversized
    """, ("a wool blend", "felted wool", "heavy twill"), _TAILORED, "lapel, belt, pocket, buttons", seasons=_COLD),
    _kind("Coats", "Raincoat", "raincoat, rain jacket", upper, """
        sleeve: long; hood: hood; closure: zip, buttons; pocket: flap, patch, side; belt: none, none, tie; length:
        long, thigh, knee; drawstring: none, drawstring; cuff: none, contrast; hem: plain; seam: none, yoke
    """, _SHELL, ("solid", "solid", "solid", "dotted", "striped", "checked"),
        "hood, pocket, zip, buttons", seasons=("spring", "autumn", "winter")),
    _kind("Dresses", "Mini dress", "mini dress, dress", upper, """
        sleeve: none, short, long, elbow; sleeve_shape: none, puffed, wide; neckline: round, v, square, boat; shape:
        flared, fitted, straight; length: thigh; belt: none, none, buckle, tie; hem: plain, frill, contrast;
        neck_edge: none, none, contrast
    """, ("viscose", "satin", "cotton jersey", "crêpe"), _PRINTS, "neckline, hem, belt, sleeve", genders=_WOMEN),
    _kind("Dresses", "Maxi dress", "maxi dress, dress, gown", upper, """
        strap: thin, wide, none; sleeve: none; neckline: v, round, scoop; shape: flared, flared, straight; length:
        ankle, calf; belt: none, tie, buckle; hem: plain, frill, contrast
    """, ("viscose", "satin", "chiffon", "a linen blend"), _PRINTS,
        "strap, hem, belt, neckline", genders=_WOMEN, seasons=_WARM),
    _kind("Dresses", "Shirt dress", "shirt dress, dress", upper, """
        sleeve: short, long, elbow; cuff: plain, contrast; collar: shirt; collar_edge: none, contrast; closure:
        buttons; length: thigh, knee; shape: flared, straight; belt: none, tie, buckle; pocket: none, chest, two
        chest; hem: plain
    """, (*_LIGHT, "denim"), _WOVEN, "collar, buttons, belt, pocket", genders=_WOMEN),
    _kind("Jumpsuits", "Jumpsuit", "jumpsuit", jumpsuit, """
        sleeve: none, short, long; neckline: round, v, square; length: waist; belt: buckle, tie; leg: full, cropped,
        short; leg_shape: straight, wide, tapered; closure: none, short buttons, zip; hem: none, contrast
    """, ("viscose", "twill", "cotton poplin"), _PRINTS, "neckline, belt, leg", genders=_WOMEN),
    _kind("Jumpsuits", "Dungarees", "dungarees, overalls", dungarees, """
        bib_pocket: pocket, none; leg: full, cropped, short; leg_shape: straight, wide, tapered; hem: none, turn-up;
        pocket: side, side and back; knee: none, none, patch, rip
    """, (*_DENIM, "corduroy", "heavy cotton"),
        ("solid", "solid", "solid", "striped", "checked"), "bib, buckle, turn-up, patch", plural=True),
    _kind("Trousers", "Jeans", "jeans", trousers, """
        leg_shape: skinny, straight, wide, tapered; leg: full, full, cropped; waist: button, belt; fly: fly; pocket:
        side and back; hem: none, turn-up, plain; knee: none, none, patch, rip
    """, _DENIM, ("solid",), "waistband, pocket, turn-up, rip, patch", plural=True),
    _kind("Trousers", "Chinos", "chinos, trousers", trousers, """
        leg_shape: straight, tapered, wide; leg: full, full, cropped; waist: loops, belt, button; fly: fly; pocket:
        side, side and back; crease: none, crease; hem: none, turn-up, plain
    """, ("cotton twill", "a linen blend", "stretch cotton"),
        ("solid", "solid", "solid", "pinstriped", "checked"), "waistband, pocket, turn-up, belt", plural=True),
    _kind("Trousers", "Joggers", "joggers, jogging bottoms", trousers, """
        leg_shape: tapered, straight; leg: full; waist: drawstring, elasticated; pocket: side, cargo, none; hem:
        ribbed; panel: none, none, panel
    """, _SWEAT, ("solid", "solid", "solid", "melange"), "drawstring, cuff, pocket, panel, waistband", plural=True),
    _kind("Trousers", "Leggings", "leggings", trousers, """
        leg_shape: skinny; leg: full, cropped, knee; waist: elasticated, contrast; panel: none, panel; hem: none,
        contrast
    """, ("stretch jersey", "ribbed cotton", "technical jersey"),
        ("solid", "solid", "striped", "leopard", "zigzag", "floral", "starry", "melange"),
        "waistband, panel, leg", genders=_WOMEN, plural=True),
    _kind("Shorts", "Shorts", "shorts", trousers, """
        leg_shape: straight, wide; leg: short, knee; waist: button, drawstring, belt, loops; fly: none, fly; pocket:
        side, side and back, none; hem: none, turn-up, contrast
    """, ("denim", "cotton twill", "a linen blend"), _WOVEN,
        "waistband, turn-up, belt, drawstring", seasons=_WARM, plural=True),
    _kind("Shorts", "Swim shorts", "swim shorts, swimming trunks", trousers, """
        leg_shape: wide; leg: short, short, knee; waist: drawstring; panel: none, panel; pocket: none, side; hem:
        none, contrast
    """, ("recycled polyester", "quick-drying nylon"), _PRINTS,
        "drawstring, panel, waistband", genders=("men",), seasons=("summer",), plural=True),
    _kind("Skirts", "Mini skirt", "mini skirt, skirt", skirt, """
        shape: a-line, flared, straight; length: mini; waist: plain, button, belt, contrast; closure: none, buttons;
        pocket: none, patch; hem: none, frill, contrast
    """, ("denim", "corduroy", "imitation leather", "cotton twill"), _WOVEN,
        "waistband, buttons, pocket, frill", genders=_WOMEN),
    _kind("Skirts", "Pencil skirt", "pencil skirt, skirt", skirt, """
        shape: pencil; length: knee, midi; waist: plain, belt, contrast; closure: none, slit, buttons; hem: none,
        contrast
    """, ("stretch twill", "a wool blend", "imitation leather"), _TAILORED,
        "waistband, slit, belt, buttons", genders=_WOMEN),
    _kind("Skirts", "Pleated skirt", "pleated skirt, skirt", skirt, """
        shape: pleated; length: mini, knee, midi, maxi; waist: plain, elasticated, contrast, belt; hem: none,
        contrast
    """, ("satin", "crêpe", "light twill"), _PRINTS, "waistband, hem, belt", genders=_WOMEN),
    _kind("Swimwear", "Swimsuit", "swimsuit, bathing suit", swimsuit, """
        neckline: round, v; strap: thin, wide; edge: none, contrast; back: open, closed; belt: none, belt; frill:
        none, frill
    """, ("recycled nylon", "stretch microfibre"), _PRINTS,
        "neckline, strap, frill, belt", genders=_WOMEN, seasons=("summer",)),
    _kind("Shoes", "Trainers", "trainers, sneakers", trainers, """
        sole: white, gum, black, contrast; sole_height: flat, chunky; ankle: low, low, high; toe: none, white;
        heel_tab: none, heel tab; panel: none, panel; laces: white, trim, straps; shown: one, pair
    """, ("canvas", *_LEATHER, "mesh"),
        ("solid", "solid", "solid", "solid", "checked", "starry", "leopard"),
        "laces, sole, toe, heel, strap", plural=True),
    _kind("Shoes", "Boots", "boots", boots, """
        shaft: ankle, calf, knee; heel: flat, block, high; fastening: none, laces, zip, buckle, elastic; sole:
        black, gum, contrast; shown: one, pair
    """, (*_LEATHER, "rubber"),
        ("solid", "solid", "solid", "solid", "leopard", "checked"),
        "heel, laces, zip, buckle, sole", seasons=_COLD, plural=True),
    _kind("Shoes", "Court shoes", "court shoes, heels, pumps", court_shoes, """
        heel: kitten, block, stiletto; toe: pointed, round, cap; strap: none, ankle; trim: none, none, bow, buckle;
        heel_colour: none, contrast; shown: one, pair
    """, (*_LEATHER, "satin"),
        ("solid", "solid", "solid", "solid", "leopard", "dotted", "floral"),
        "heel, toe, bow, strap, buckle", genders=_WOMEN, plural=True),
    _kind("Shoes", "Sandals", "sandals", sandals, """
        straps: one, two, ankle; sole_height: flat, platform, wedge; sole: gum, black, white, contrast; trim: none,
        buckle, flower; shown: one, pair
    """, (*_LEATHER, "cork and leather"),
        ("solid", "solid", "solid", "leopard", "striped", "floral"),
        "strap, sole, buckle, flower", seasons=_WARM, plural=True),
    _kind("Bags", "Tote bag", "tote bag, shopper, tote", tote_bag, """
        handle: long, short; handle_colour: none, contrast; shape: boxy, wide; pocket: none, front; base: none,
        none, contrast; print: none, none, star, circle, letter
    """, ("cotton canvas", "jute", "leather", "recycled cotton"), _PRINTS,
        "handle, pocket, base, star, circle, letter"),
    _kind("Bags", "Backpack", "backpack, rucksack", backpack, """
        shape: round, square; closure: zip, zip, flap; pocket: front, front, none; pocket_colour: none, contrast;
        base: none, contrast
    """, ("nylon", "cotton canvas", "recycled polyester"),
        ("solid", "solid", "solid", "checked", "starry", "zigzag", "floral", "dotted"),
        "pocket, zip, handle, flap, base"),
    _kind("Bags", "Shoulder bag", "shoulder bag, handbag", shoulder_bag, """
        shape: boxy, round; closure: flap, zip; strap: plain, contrast, chain; tassel: none, none, tassel
    """, _LEATHER, ("solid", "solid", "solid", "leopard", "checked", "dotted"),
        "flap, strap, zip, clasp, tassel", genders=_WOMEN),
    _kind("Hats", "Cap", "cap, baseball cap", cap, """
        peak: none, contrast; print: none, star, circle, letter; strap: strap, none
    """, ("cotton twill", "washed denim", "wool felt"),
        ("solid", "solid", "solid", "checked", "striped", "dotted"), "peak, star, circle, letter"),
    _kind("Hats", "Beanie", "beanie, knitted hat", beanie, """
        cuff: none, plain, contrast; pompom: none, plain, contrast; patch: none, none, patch; fit: close, slouchy
    """, _WOOL, _KNIT, "cuff, pompom, patch", seasons=_COLD),
    _kind("Hats", "Sun hat", "sun hat, straw hat", sun_hat, """
        brim: wide, narrow; ribbon: none, plain, bow, flower
    """, ("straw", "paper straw", "raffia"),
        ("solid", "solid", "solid", "zigzag", "striped"), "brim, ribbon, flower, bow", genders=_WOMEN, seasons=_WARM),
    _kind("Scarves & Ties", "Scarf", "scarf", scarf, """
        width: wide, narrow; fringe: none, fringe; ends: none, none, striped, contrast
    """, ("a wool blend", "soft merino wool", "viscose", "cable-knit wool"),
        ("solid", "solid", "checked", "striped", "dotted", "leopard", "argyle", "zigzag"),
        "fringe, ends, stripes", seasons=_COLD),
    _kind("Scarves & Ties", "Tie", "tie, necktie", tie, """
        width: slim, wide; tip: none, square, contrast; pin: none, none, pin
    """, ("silk", "woven silk", "knitted wool"),
        ("solid", "solid", "striped", "dotted", "checked", "argyle", "floral"), "knot, tip, pin", genders=("men",)),
    _kind("Scarves & Ties", "Bow tie", "bow tie", bow_tie, """
        width: slim, wide; knot: none, contrast; band: none, band
    """, ("silk", "velvet", "cotton"),
        ("solid", "solid", "dotted", "checked", "striped", "floral", "starry"), "knot, wing", genders=("men",)),
    _kind("Gloves", "Gloves", "gloves", gloves, """
        length: short, long; cuff: plain, contrast; strap: none, strap
    """, ("leather", "suede", "a wool blend"),
        ("solid", "solid", "solid", "striped", "checked"), "cuff, fingers, strap", seasons=_COLD, plural=True),
    _kind("Gloves", "Mittens", "mittens", mittens, """
        length: short, long; cuff: plain, contrast; strap: none, none, strap; motif: none, star
    """, _WOOL, _KNIT, "cuff, star, thumb", seasons=_COLD, plural=True),
    _kind("Socks", "Socks", "socks", socks, """
        length: ankle, calf, knee; heel: none, contrast; toe: none, contrast; cuff: plain, contrast
    """, ("a cotton blend", "soft merino wool", "organic cotton"),
        ("solid", "solid", "striped", "dotted", "argyle", "zigzag", "starry"), "cuff, heel, toe", plural=True),
    _kind("Accessories", "Belt", "belt", belt, """
        width: wide, narrow; buckle: square, round
    """, _LEATHER, ("solid", "solid", "solid", "solid", "leopard", "striped"), "buckle, holes"),
    _kind("Accessories", "Sunglasses", "sunglasses, shades", sunglasses, """
        lens: round, square, cat-eye; tint: dark, brown, blue; bridge: none, metal
    """, ("plastic", "acetate"),
        ("solid", "solid", "solid", "leopard", "checked"), "lens, bridge", seasons=_WARM, plural=True),
    _kind("Accessories", "Umbrella", "umbrella", umbrella, """
        handle: wood, black; edge: none, contrast
    """, ("nylon", "recycled polyester"),
        ("solid", "solid", "striped", "dotted", "checked", "floral", "starry"),
        "handle, canopy, edge", seasons=("spring", "autumn")),
)
# fmt: on

TEXTURE_OF = {
    "denim": "denim", "stretch denim": "denim", "rigid denim": "denim", "washed denim": "denim",
    "ribbed cotton": "ribbed", "chunky ribbed wool": "ribbed", "corduroy": "ribbed",
    "cable-knit wool": "knitted", "straw": "knitted", "paper straw": "knitted", "raffia": "knitted", "jute": "denim",
}  # fmt: skip
